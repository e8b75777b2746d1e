#include "video/reader.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <exception>
#include <utility>

#include "base/error.hpp"
#include "video/describe.hpp"
#include "video/plane_reader.hpp"
#include "video/reader_notes.hpp"
#include "video/source.hpp"

namespace cairn::video {
namespace {

constexpr int kMostFailures = 64;  // of a decoder that is told to end
// Seconds: the first pictures after a seek may lean on what was skipped, and indices are of decoding times.
constexpr std::array<double, 2> kBefore = {1, 8};

}  // namespace

struct Reader::State {
  std::string path, name;
  ReaderOptions options;
  VideoInfo info;
  std::unique_ptr<Source> source;
  Libav<AVCodecContext> decoder;
  Libav<AVPacket> packet;
  Libav<AVFrame> now, ahead;  // the picture that is given, and the one after it: its stamp ends the first
  PlaneReader planes;
  ReaderNotes notes;
  std::exception_ptr trouble;  // with the first picture, for the first read()
  FileLength length;
  bool drained = false, ended = false, more = false;
  int failures = 0;
  uint64_t frames = 0;
  int64_t last_pts = INT64_MIN, end_pts = 0;

  void open();
  void open_decoder(const AVStream& stream);
  bool decode(AVFrame& into);
  bool seek(uint64_t number, int64_t pts, double before);
  void feed();
  void check_end();
  void take(Frame& frame);
  [[noreturn]] void refuse(ErrorCode code, const std::string& what) const {
    fail(code, "{}: {} (--keep-going takes what can be read)", name, what);
  }
};

void Reader::State::open() {
  name = options.called.empty() ? path : options.called;
  source = std::make_unique<Source>(path, options.called);
  bool covers = false;
  info.stream = source->video(&covers);
  if (info.stream < 0)
    fail(ErrorCode::format, "{}: it has no video track{}", name, covers ? ", only a cover picture" : "");
  AVStream& stream = source->stream(info.stream);
  source->only(info.stream);
  packet.reset(av_packet_alloc());
  now.reset(av_frame_alloc());
  ahead.reset(av_frame_alloc());
  if (packet == nullptr || now == nullptr || ahead == nullptr)
    fail(ErrorCode::out_of_memory, "{}: no memory", name);
  open_decoder(stream);
  describe(*source, path, name, info, notes);
  if (info.format.chroma == Chroma::none && options.grey_as_420) info.format.chroma = Chroma::c420;
  length = describe_length(*source, path, info);
  try {
    more = decode(*ahead);
    if (more) learn(*source, *ahead, info);
  } catch (...) {
    trouble = std::current_exception();
  }
}

void Reader::State::open_decoder(const AVStream& stream) {
  const AVCodec* codec = avcodec_find_decoder(stream.codecpar->codec_id);
  info.codec = avcodec_get_name(stream.codecpar->codec_id);
  if (codec == nullptr)
    fail(ErrorCode::unsupported, "{}: this libav has no decoder for its video, {}", name, info.codec);
  decoder.reset(avcodec_alloc_context3(codec));
  if (decoder == nullptr) fail(ErrorCode::out_of_memory, "{}: no memory for a decoder", name);
  int error = avcodec_parameters_to_context(decoder.get(), stream.codecpar);
  decoder->pkt_timebase = stream.time_base;
  decoder->thread_count = options.threads;
  if (error >= 0) error = avcodec_open2(decoder.get(), codec, nullptr);
  if (error < 0) fail(ErrorCode::unsupported, "{}: {}: {}", name, codec->name, libav_reason(error));
}

// Gives the decoder its next packet, or the end.
void Reader::State::feed() {
  while (true) {
    const int error = source->read(*packet);
    if (error < 0) {
      if (error != AVERROR_EOF) {
        length.broken_off = true;
        if (!options.keep_going)
          refuse(ErrorCode::io, fmt::format("after {} frames: {}", frames, libav_reason(error)));
      }
      avcodec_send_packet(decoder.get(), nullptr);
      drained = true;
      return;
    }
    const bool ours = packet->stream_index == info.stream;
    if (ours && (packet->flags & AV_PKT_FLAG_CORRUPT) != 0) notes.damaged_packet(frames);
    const int sent = ours ? avcodec_send_packet(decoder.get(), packet.get()) : 0;
    av_packet_unref(packet.get());
    if (sent < 0 && sent != AVERROR(EAGAIN)) {
      if (!options.keep_going || sent == AVERROR(ENOMEM)) {
        refuse(ErrorCode::format,
               fmt::format("after {} frames: a packet the decoder refuses: {}", frames, libav_reason(sent)));
      }
      notes.lost_packet(frames);
    }
    if (ours) return;
  }
}

// The next picture; false at the end.
bool Reader::State::decode(AVFrame& into) {
  while (!ended) {
    const int error = avcodec_receive_frame(decoder.get(), &into);
    if (error == 0) return true;
    if (error == AVERROR_EOF) {
      ended = true;
    } else if (error == AVERROR(EAGAIN)) {
      if (drained) {
        ended = true;
      } else {
        feed();
      }
    } else if (!options.keep_going) {
      refuse(ErrorCode::format, fmt::format("after {} frames: {}", frames, libav_reason(error)));
    } else {
      notes.lost_packet(frames);
      if (++failures > kMostFailures && drained) ended = true;
    }
  }
  return false;
}

// By a picture at least `before` seconds ahead of the wanted one.
bool Reader::State::seek(uint64_t number, int64_t pts, double before) {
  const int64_t from = pts - std::llround(before / info.time_base.value());
  if (from <= 0 || !source->seek(info.stream, from)) return false;
  avcodec_flush_buffers(decoder.get());
  drained = ended = false;
  failures = 0;
  try {
    do {
      more = decode(*ahead);
    } while (more && ahead->best_effort_timestamp < pts);
  } catch (const Error&) {
    return false;  // reading from the start tells of it, if it is the file's fault
  }
  frames = number;
  last_pts = INT64_MIN;
  return more && ahead->best_effort_timestamp == pts;
}

void Reader::State::check_end() {
  if (frames == 0) fail(ErrorCode::format, "{}: its video track has no frames", name);
  const double tick = info.time_base.value(), reached = static_cast<double>(end_pts) * tick;
  bool early = length.broken_off;
  if (!early && info.seconds && !length.until && source->jumps().empty() &&
      source->file().duration_estimation_method == AVFMT_DURATION_FROM_STREAM) {
    // Muxers round, and not all know how long the last frame stays.
    const double least =
        *info.seconds - std::max(1.5 / info.mean_rate.value(), std::min(0.02 * *info.seconds, 1.0));
    early = reached < least && (info.frames == 0 || frames < info.frames);
  }
  if (!early) return;
  const std::string what =
      info.seconds && reached < *info.seconds
          ? fmt::format("it ends early: {:.2f} s of {:.2f} s are there", reached, *info.seconds)
          : fmt::format("it ends early, after {} frames", frames);
  if (!options.keep_going) refuse(ErrorCode::format, what);
  notes.ends_early(what);
}

void Reader::State::take(Frame& frame) {
  notes.picture(*now, info.format, frames);
  planes.read(*now, info.format, info.colour, name, frame);
  const double ticks = 1.0 / (info.frame_rate.value() * info.time_base.value());
  const auto usual = std::max<int64_t>(1, std::isfinite(ticks) ? std::llround(ticks) : 1);
  const int64_t stamp = now->best_effort_timestamp;
  frame.pts = stamp != AV_NOPTS_VALUE ? stamp : last_pts == INT64_MIN ? 0 : last_pts + usual;
  if (last_pts != INT64_MIN) frame.pts = std::max(frame.pts, last_pts + 1);
  const int64_t own = duration_of(*now), next = more ? ahead->best_effort_timestamp : AV_NOPTS_VALUE;
  frame.duration = own > 0 ? own : usual;
  if (next != AV_NOPTS_VALUE && next > frame.pts) frame.duration = next - frame.pts;
  if (!more && length.until) {
    const int64_t end = std::llround(*length.until / info.time_base.value());
    frame.duration = std::max(frame.duration, end - frame.pts);
  }
  frame.key = is_key(*now);
  last_pts = frame.pts;
  end_pts = std::max(end_pts, frame.pts + frame.duration);
  ++frames;
}

Reader::Reader(const std::string& path, const ReaderOptions& options) : state_(std::make_unique<State>()) {
  state_->path = path;
  state_->options = options;
  state_->open();
}
Reader::~Reader() = default;
Reader::Reader(Reader&&) noexcept = default;
Reader& Reader::operator=(Reader&&) noexcept = default;

const VideoInfo& Reader::info() const noexcept {
  return state_->info;
}

bool Reader::read(Frame& frame) {
  State& s = *state_;
  if (s.trouble) std::rethrow_exception(s.trouble);
  if (!s.more) {
    s.check_end();
    return false;
  }
  std::swap(s.now, s.ahead);
  av_frame_unref(s.ahead.get());
  s.more = s.decode(*s.ahead);
  s.take(frame);
  return true;
}

void Reader::rewind() {
  auto fresh = std::make_unique<State>();
  fresh->path = state_->path;
  fresh->options = state_->options;
  fresh->open();
  state_ = std::move(fresh);
}

void Reader::seek(uint64_t number, int64_t pts) {
  for (const double before : kBefore) {
    if (!state_->trouble && state_->seek(number, pts, before)) return;
  }
  rewind();
  Frame skipped;
  for (uint64_t i = 0; i < number; ++i) {
    if (!read(skipped)) return;
  }
}

std::vector<std::string> Reader::notes() const {
  return state_->notes.lines(state_->name, state_->source->jumps());
}

}  // namespace cairn::video
