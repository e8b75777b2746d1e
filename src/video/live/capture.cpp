#include "video/live/capture.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <thread>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "video/describe.hpp"
#include "video/live/captured_sound.hpp"
#include "video/plane_reader.hpp"

namespace cairn::video {
namespace {

constexpr int kTicks = 90000;          // a second, of what is given
constexpr double kLongestPause = 2.0;  // seconds: more is a jump of the clock
constexpr auto kNap = std::chrono::milliseconds(5);
constexpr int kLook = 20;           // milliseconds, for an interrupt or a stall
constexpr int kBuffer = 1 << 16;    // bytes, of a pipe
constexpr size_t kMostJumps = 100;  // that are told one by one

bool is_url(const std::string& input) {
  const size_t colon = input.find("://");
  return colon != std::string::npos && colon > 0 && input.find('/') > colon;
}

}  // namespace

struct Capture::State {
  ~State() {
    file.reset();
    if (pipe_context != nullptr) {
      av_freep(&pipe_context->buffer);
      avio_context_free(&pipe_context);
    }
    if (pipe >= 0 && pipe != STDIN_FILENO) close(pipe);
  }
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  std::string name;
  CaptureOptions options;
  VideoInfo info;
  int pipe = -1;
  AVIOContext* pipe_context = nullptr;
  Libav<AVFormatContext> file;
  Libav<AVCodecContext> decoder;
  Libav<AVPacket> packet;
  Libav<AVFrame> picture;
  PlaneReader planes;
  AVRational base{};
  int stream = -1;
  bool paced = false, drained = false, stopped = false;
  Stopwatch since_packet, since_picture, since_first;  // packets
  CapturedSound sound;
  uint64_t frames = 0, damaged = 0;
  int64_t last_pts = -1;
  double last_in = 0, now = 0, usual = 0.04;  // seconds: of its clock, of ours, of a frame
  std::vector<std::string> jumps;
  uint64_t more_jumps = 0;

  static int give_up(void* self) {
    const auto& s = *static_cast<State*>(self);
    return interrupted() || s.since_packet.seconds() > s.options.stall_seconds ? 1 : 0;
  }
  // libav's own reading of pipes waits for their other end whatever give_up() says.
  static int read_pipe(void* self, uint8_t* bytes, int count) {
    auto& s = *static_cast<State*>(self);
    while (give_up(self) == 0) {
      pollfd look{s.pipe, POLLIN, 0};
      if (poll(&look, 1, kLook) <= 0) continue;
      const ssize_t got = ::read(s.pipe, bytes, static_cast<size_t>(count));
      if (got > 0) {
        s.since_packet.restart();
        return static_cast<int>(got);
      }
      if (got == 0) return AVERROR_EOF;
      if (errno != EINTR && errno != EAGAIN) return AVERROR(errno);
    }
    return AVERROR_EXIT;
  }
  [[noreturn]] void refuse(int error, const char* doing) const {
    if (error == AVERROR(ENOENT)) fail(ErrorCode::not_found, "{}: no such file", name);
    if (error == AVERROR_EXIT && !interrupted())
      fail(ErrorCode::network, "{}: {}: nothing came in {:g} s", name, doing, options.stall_seconds);
    throw_if_interrupted();
    fail(is_url(name) ? ErrorCode::network : ErrorCode::format, "{}: {}: {}", name, doing,
         libav_reason(error));
  }

  void open();
  void open_pipe(AVFormatContext& raw);
  void describe_pictures();
  int read_picture();
  bool decode();
  void keep_time(Frame& frame);
};

void Capture::State::open_pipe(AVFormatContext& raw) {
  pipe = name == "-" ? STDIN_FILENO : ::open(name.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  auto* buffer = pipe < 0 ? nullptr : static_cast<unsigned char*>(av_malloc(kBuffer));
  if (buffer != nullptr)
    pipe_context = avio_alloc_context(buffer, kBuffer, 0, this, read_pipe, nullptr, nullptr);
  if (pipe_context == nullptr) {
    const int reason = errno;
    av_free(buffer);
    if (pipe < 0) fail(ErrorCode::io, "{}: cannot be opened: {}", name, libav_reason(AVERROR(reason)));
    fail(ErrorCode::out_of_memory, "{}: no memory", name);
  }
  raw.pb = pipe_context;
  raw.flags |= AVFMT_FLAG_CUSTOM_IO;
}

void Capture::State::open() {
  av_log_set_level(AV_LOG_FATAL);
  const bool url = is_url(name);
  struct stat status {};
  const bool there = !url && name != "-" && stat(name.c_str(), &status) == 0;
  paced = there && S_ISREG(status.st_mode);
  AVFormatContext* raw = avformat_alloc_context();
  if (raw == nullptr) fail(ErrorCode::out_of_memory, "{}: no memory", name);
  file.reset(raw);
  raw->interrupt_callback = {give_up, this};
  if (name == "-" || (there && S_ISFIFO(status.st_mode))) open_pipe(*raw);
  if (url) avformat_network_init();
  AVDictionary* settings = nullptr;
  if (name.starts_with("rtsp:")) av_dict_set(&settings, "rtsp_flags", "prefer_tcp", 0);
  const std::string from = pipe_context != nullptr || url ? name : file_url(name);
  file.release();  // libav frees it where it fails
  int error = avformat_open_input(&raw, from.c_str(), nullptr, &settings);
  file.reset(raw);
  av_dict_free(&settings);
  if (error < 0) refuse(error, "cannot be opened");
  since_packet.restart();
  error = avformat_find_stream_info(raw, nullptr);
  // One that stops while libav still looks for more tracks may have pictures.
  const bool stalled = error == AVERROR_EXIT && !interrupted();
  if (error < 0 && !stalled) refuse(error, "cannot be read");
  const AVCodec* codec = nullptr;
  stream = av_find_best_stream(raw, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
  if (stalled && (stream < 0 || raw->streams[stream]->codecpar->width == 0)) refuse(error, "cannot be read");
  if (stream < 0) fail(ErrorCode::format, "{}: it has no video track that libav decodes", name);
  for (unsigned i = 0; i < raw->nb_streams; ++i) {
    if (static_cast<int>(i) == stream) continue;
    if (options.sound && raw->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_AUDIO) {
      sound.add(*raw->streams[i], name);
    } else {
      raw->streams[i]->discard = AVDISCARD_ALL;
    }
  }
  decoder.reset(avcodec_alloc_context3(codec));
  packet.reset(av_packet_alloc());
  picture.reset(av_frame_alloc());
  if (decoder == nullptr || packet == nullptr || picture == nullptr ||
      avcodec_parameters_to_context(decoder.get(), raw->streams[stream]->codecpar) < 0)
    fail(ErrorCode::out_of_memory, "{}: no memory", name);
  base = decoder->pkt_timebase = raw->streams[stream]->time_base;
  decoder->thread_count = 2;
  error = avcodec_open2(decoder.get(), codec, nullptr);
  if (error < 0) fail(ErrorCode::unsupported, "{}: {}: {}", name, codec->name, libav_reason(error));
  describe_pictures();
}

void Capture::State::describe_pictures() {
  AVStream& track = *file->streams[stream];
  const AVCodecParameters& p = *track.codecpar;
  if (p.width < 16 || p.height < 16) fail(ErrorCode::format, "{}: its video has no size", name);
  info.format = {static_cast<uint32_t>(p.width), static_cast<uint32_t>(p.height), 8, Chroma::c420};
  info.colour = {p.color_space, p.color_primaries, p.color_trc, p.color_range, p.chroma_location};
  info.time_base = {1, kTicks};
  AVRational rate = av_guess_frame_rate(file.get(), &track, nullptr);
  if (rate.num <= 0 || rate.den <= 0 || av_q2d(rate) > 240) rate = {25, 1};
  info.frame_rate = info.mean_rate = {rate.num, rate.den};
  usual = 1 / av_q2d(rate);
  const AVRational aspect = av_guess_sample_aspect_ratio(file.get(), &track, nullptr);
  if (aspect.num > 0 && aspect.den > 0) info.sample_aspect = {aspect.num, aspect.den};
  info.codec = avcodec_get_name(p.codec_id);
  info.stream = stream;
}

// The next packet of pictures; libav's error otherwise. Sound alone is nothing that comes.
int Capture::State::read_picture() {
  since_picture.restart();
  while (true) {
    av_packet_unref(packet.get());
    since_packet.restart();
    const int got = av_read_frame(file.get(), packet.get());
    if (got < 0 || packet->stream_index == stream) return got;
    sound.take(*packet);
    if (interrupted() || since_picture.seconds() > options.stall_seconds) return AVERROR_EXIT;
  }
}

// Into `picture`; false at the end.
bool Capture::State::decode() {
  while (true) {
    const int error = avcodec_receive_frame(decoder.get(), picture.get());
    if (error == 0) return true;
    if (error == AVERROR_EOF || (drained && error == AVERROR(EAGAIN))) return false;
    if (error != AVERROR(EAGAIN)) {
      ++damaged;
      if (drained) return false;
    }
    const int got = read_picture();
    if (got < 0) {
      if (interrupted()) return false;
      stopped = got != AVERROR_EOF;
      avcodec_send_packet(decoder.get(), nullptr);
      drained = true;
      continue;
    }
    const int sent = avcodec_send_packet(decoder.get(), packet.get());
    if (sent < 0 && sent != AVERROR(EAGAIN)) ++damaged;
  }
}

void Capture::State::keep_time(Frame& frame) {
  const int64_t stamp = picture->best_effort_timestamp;
  const double in = stamp == AV_NOPTS_VALUE ? last_in + usual : static_cast<double>(stamp) * av_q2d(base);
  bool jumped = false;
  if (frames > 0) {
    const double step = in - last_in;
    jumped = step <= 0 || step > kLongestPause;
    if (!jumped) {
      now += std::max(step, 1.0 / kTicks);  // stamps must increase
    } else {
      if (jumps.size() == kMostJumps) {
        ++more_jumps;
      } else {
        jumps.push_back(
            fmt::format("{}: its clock jumps by {:+.2f} s after {:.2f} s: joined", name, step - usual, now));
      }
      now += usual;
    }
  }
  last_in = in;
  sound.picture(in, now, jumped);
  frame.pts = last_pts = std::max(last_pts + 1, static_cast<int64_t>(std::llround(now * kTicks)));
  frame.duration = std::llround(usual * kTicks);
  frame.key = is_key(*picture);
}

Capture::Capture(const std::string& input, const CaptureOptions& options)
    : state_(std::make_unique<State>()) {
  state_->name = input;
  state_->options = options;
  state_->open();
}
Capture::~Capture() = default;

const VideoInfo& Capture::info() const noexcept {
  return state_->info;
}
CapturedSound& Capture::sound() noexcept {
  return state_->sound;
}
bool Capture::stopped() const noexcept {
  return state_->stopped;
}

bool Capture::read(Frame& frame) {
  State& s = *state_;
  if (!s.decode()) return false;
  s.planes.read(*s.picture, s.info.format, s.info.colour, s.name, frame);
  s.keep_time(frame);
  if (s.frames++ == 0) s.since_first.restart();
  while (s.paced && s.since_first.seconds() < s.now && !interrupted()) std::this_thread::sleep_for(kNap);
  return true;
}

std::vector<std::string> Capture::notes() const {
  const State& s = *state_;
  std::vector<std::string> notes = s.jumps;
  if (s.more_jumps > 0) notes.push_back(fmt::format("{}: {} more jumps of its clock", s.name, s.more_jumps));
  if (s.damaged > 0)
    notes.push_back(fmt::format("{}: {} damaged packets were passed over", s.name, s.damaged));
  if (s.stopped)
    notes.push_back(fmt::format("{}: it stopped after {:.2f} s: nothing came for {:g} s", s.name,
                                s.now + s.usual, s.options.stall_seconds));
  return notes;
}

}  // namespace cairn::video
