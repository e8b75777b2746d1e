#include "video/reader.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.hpp"
#include "video/libav.hpp"

namespace cairn::video {
namespace {

constexpr uint32_t kLargestSide = 16384;

// The format of planes nearest to what the decoder gives, and libav's name for it.
Format nearest_format(AVPixelFormat pixels, int width, int height) {
  const AVPixFmtDescriptor* d = av_pix_fmt_desc_get(pixels);
  Format format;
  format.width = static_cast<uint32_t>(width);
  format.height = static_cast<uint32_t>(height);
  if (d == nullptr) return format;
  const bool rgb = (d->flags & AV_PIX_FMT_FLAG_RGB) != 0;
  format.bits = d->comp[0].depth > 8 ? 10 : 8;
  if (d->nb_components < 3 && !rgb && (d->flags & AV_PIX_FMT_FLAG_PAL) == 0) {
    format.chroma = Chroma::none;
  } else if (rgb || (d->flags & AV_PIX_FMT_FLAG_PAL) != 0 || d->log2_chroma_w == 0) {
    format.chroma = Chroma::c444;
  } else {
    format.chroma = d->log2_chroma_h == 0 ? Chroma::c422 : Chroma::c420;
  }
  return format;
}

AVPixelFormat libav_format(const Format& format) {
  return av_get_pix_fmt(format.pixel_format().c_str());
}

// yuvj420p and its like are yuv420p of full range.
AVPixelFormat plain(AVPixelFormat pixels, bool& full) {
  switch (pixels) {
    case AV_PIX_FMT_YUVJ420P:
      full = true;
      return AV_PIX_FMT_YUV420P;
    case AV_PIX_FMT_YUVJ422P:
      full = true;
      return AV_PIX_FMT_YUV422P;
    case AV_PIX_FMT_YUVJ444P:
      full = true;
      return AV_PIX_FMT_YUV444P;
    default:
      return pixels;
  }
}

void copy_plane(const uint8_t* data, int line, bool deep, Plane& plane) {
  for (uint32_t y = 0; y < plane.height; ++y) {
    const uint8_t* row = data + static_cast<ptrdiff_t>(y) * line;
    uint16_t* out = plane.row(y);
    if (deep) {
      const auto* wide = reinterpret_cast<const uint16_t*>(row);
      for (uint32_t x = 0; x < plane.width; ++x) out[x] = std::min<uint16_t>(wide[x], 1023);
    } else {
      for (uint32_t x = 0; x < plane.width; ++x) out[x] = row[x];
    }
  }
}

}  // namespace

struct Reader::State {
  std::string path;
  ReaderOptions options;
  VideoInfo info;
  Libav<AVFormatContext> file;
  Libav<AVCodecContext> decoder;
  Libav<AVPacket> packet;
  Libav<AVFrame> decoded, converted;
  Libav<SwsContext> scaler;
  bool rgb = false, drained = false, ended = false;
  uint64_t frames = 0;
  int64_t last_pts = INT64_MIN, end_pts = 0;

  void open();
  void open_decoder(const AVStream& stream, const AVCodec* codec);
  void describe(const AVStream& stream);
  bool decode();
  void feed();
  void check_end() const;
  void take(Frame& frame);
  const AVFrame& in_planes();
};

void Reader::State::open() {
  AVFormatContext* raw = nullptr;
  int error = avformat_open_input(&raw, path.c_str(), nullptr, nullptr);
  if (error == AVERROR(ENOENT)) fail(ErrorCode::not_found, "{}: no such file", path);
  if (error == AVERROR_INVALIDDATA || error == AVERROR_EOF) {
    fail(ErrorCode::format, "{}: not a video that libav knows ({})", path, libav_reason(error));
  }
  if (error < 0) fail(ErrorCode::io, "{}: {}", path, libav_reason(error));
  file.reset(raw);
  error = avformat_find_stream_info(raw, nullptr);
  if (error < 0) fail(ErrorCode::format, "{}: {}", path, libav_reason(error));
  const AVCodec* codec = nullptr;
  const int index = av_find_best_stream(raw, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
  if (index == AVERROR_DECODER_NOT_FOUND) {
    fail(ErrorCode::unsupported, "{}: this libav has no decoder for its video", path);
  }
  if (index < 0) fail(ErrorCode::format, "{}: it has no video track", path);
  for (unsigned i = 0; i < raw->nb_streams; ++i) {
    if (static_cast<int>(i) != index) raw->streams[i]->discard = AVDISCARD_ALL;
  }
  info.stream = index;
  open_decoder(*raw->streams[index], codec);
  describe(*raw->streams[index]);
  packet.reset(av_packet_alloc());
  decoded.reset(av_frame_alloc());
  if (packet == nullptr || decoded == nullptr) fail(ErrorCode::out_of_memory, "{}: no memory", path);
}

void Reader::State::open_decoder(const AVStream& stream, const AVCodec* codec) {
  decoder.reset(avcodec_alloc_context3(codec));
  if (decoder == nullptr) fail(ErrorCode::out_of_memory, "{}: no memory for a decoder", path);
  int error = avcodec_parameters_to_context(decoder.get(), stream.codecpar);
  decoder->pkt_timebase = stream.time_base;
  decoder->thread_count = options.threads;
  if (error >= 0) error = avcodec_open2(decoder.get(), codec, nullptr);
  if (error < 0) fail(ErrorCode::unsupported, "{}: {}: {}", path, codec->name, libav_reason(error));
  info.codec = avcodec_get_name(codec->id);
}

void Reader::State::describe(const AVStream& stream) {
  const AVCodecParameters& p = *stream.codecpar;
  bool full = false;
  const AVPixelFormat pixels = plain(static_cast<AVPixelFormat>(p.format), full);
  if (p.width < 1 || p.height < 1) fail(ErrorCode::format, "{}: its video has no size", path);
  info.format = nearest_format(pixels, p.width, p.height);
  if (info.format.width > kLargestSide || info.format.height > kLargestSide) {
    fail(ErrorCode::unsupported, "{}: {}×{} (up to {} a side)", path, p.width, p.height, kLargestSide);
  }
  const AVPixFmtDescriptor* d = av_pix_fmt_desc_get(pixels);
  rgb = d != nullptr && (d->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) != 0;
  info.colour = {p.color_space, p.color_primaries, p.color_trc, full ? 2 : p.color_range, p.chroma_location};
  if (rgb) {
    info.colour.matrix = AVCOL_SPC_BT709;
    info.colour.range = AVCOL_RANGE_MPEG;
  }
  info.time_base = {stream.time_base.num, stream.time_base.den};
  AVRational rate = stream.avg_frame_rate;
  if (rate.num <= 0 || rate.den <= 0) rate = stream.r_frame_rate;
  if (rate.num <= 0 || rate.den <= 0) rate = {25, 1};
  info.frame_rate = {rate.num, rate.den};
  if (p.sample_aspect_ratio.num > 0 && p.sample_aspect_ratio.den > 0) {
    info.sample_aspect = {p.sample_aspect_ratio.num, p.sample_aspect_ratio.den};
  }
  info.frames = stream.nb_frames > 0 ? static_cast<uint64_t>(stream.nb_frames) : 0;
  if (stream.duration != AV_NOPTS_VALUE && stream.duration > 0) {
    info.seconds = static_cast<double>(stream.duration) * av_q2d(stream.time_base);
  } else if (const AVDictionaryEntry* tag = av_dict_get(stream.metadata, "DURATION", nullptr, 0)) {
    int hours = 0, minutes = 0;  // Matroska, as its muxers write it: 00:00:05.280000000
    double seconds = 0;
    if (std::sscanf(tag->value, "%d:%d:%lf", &hours, &minutes, &seconds) == 3) {
      info.seconds = hours * 3600.0 + minutes * 60.0 + seconds;
    }
  }
}

// Gives the decoder its next packet, or the end.
void Reader::State::feed() {
  while (true) {
    const int error = av_read_frame(file.get(), packet.get());
    if (error < 0) {
      if (error != AVERROR_EOF && !options.truncated) {
        fail(ErrorCode::io, "{}: after {} frames: {}", path, frames, libav_reason(error));
      }
      avcodec_send_packet(decoder.get(), nullptr);
      drained = true;
      return;
    }
    const bool ours = packet->stream_index == info.stream;
    const int sent = ours ? avcodec_send_packet(decoder.get(), packet.get()) : 0;
    av_packet_unref(packet.get());
    if (sent < 0 && sent != AVERROR(EAGAIN) && !(options.truncated && sent == AVERROR_INVALIDDATA)) {
      fail(ErrorCode::format, "{}: after {} frames: a packet the decoder refuses: {}", path, frames,
           libav_reason(sent));
    }
    if (ours) return;
  }
}

// The next frame into `decoded`; false at the end.
bool Reader::State::decode() {
  while (!ended) {
    const int error = avcodec_receive_frame(decoder.get(), decoded.get());
    if (error == 0) return true;
    if (error == AVERROR_EOF) {
      ended = true;
    } else if (error == AVERROR(EAGAIN)) {
      if (drained) {
        ended = true;
      } else {
        feed();
      }
    } else if (!options.truncated || !drained) {
      fail(ErrorCode::format, "{}: after {} frames: {}", path, frames, libav_reason(error));
    }
  }
  return false;
}

void Reader::State::check_end() const {
  if (frames == 0) fail(ErrorCode::format, "{}: its video track has no frames", path);
  if (options.truncated || !info.seconds) return;
  const double tick = info.time_base.value(), until = static_cast<double>(end_pts) * tick;
  // Muxers round, and not all know how long the last frame stays.
  const double least =
      *info.seconds - std::max(1.5 / info.frame_rate.value(), std::min(0.02 * *info.seconds, 1.0));
  if (until < least && (info.frames == 0 || frames < info.frames)) {
    fail(ErrorCode::format, "{}: it ends early: {:.2f} s of {:.2f} s are there", path, until, *info.seconds);
  }
}

// `decoded` in one of our formats: itself, or converted.
const AVFrame& Reader::State::in_planes() {
  bool full = false;
  const AVPixelFormat from = plain(static_cast<AVPixelFormat>(decoded->format), full),
                      to = libav_format(info.format);
  if (from == to) return *decoded;
  if (converted == nullptr) {
    converted.reset(av_frame_alloc());
    if (converted == nullptr) fail(ErrorCode::out_of_memory, "{}: no memory for a frame", path);
    converted->format = to;
    converted->width = decoded->width;
    converted->height = decoded->height;
    if (av_frame_get_buffer(converted.get(), 0) < 0)
      fail(ErrorCode::out_of_memory, "{}: no memory for a frame", path);
  }
  SwsContext* next = sws_getCachedContext(
      scaler.release(), decoded->width, decoded->height, from, decoded->width, decoded->height, to,
      SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, nullptr, nullptr, nullptr);
  scaler.reset(next);
  if (next == nullptr) fail(ErrorCode::unsupported, "{}: pixel format {}", path, av_get_pix_fmt_name(from));
  const bool wide = full || info.colour.range == AVCOL_RANGE_JPEG;
  const int* coefficients = sws_getCoefficients(rgb ? SWS_CS_ITU709 : info.colour.matrix);
  sws_setColorspaceDetails(next, coefficients, rgb || wide ? 1 : 0, coefficients, !rgb && wide ? 1 : 0, 0,
                           1 << 16, 1 << 16);
  sws_scale(next, decoded->data, decoded->linesize, 0, decoded->height, converted->data, converted->linesize);
  return *converted;
}

void Reader::State::take(Frame& frame) {
  if (decoded->width != static_cast<int>(info.format.width) ||
      decoded->height != static_cast<int>(info.format.height)) {
    fail(ErrorCode::format, "{}: frame {} is {}×{}, the video began as {}×{}", path, frames, decoded->width,
         decoded->height, info.format.width, info.format.height);
  }
  if (frames == 0 && !rgb) {  // decoders know more than headers
    Colour& c = info.colour;
    if (c.matrix == AVCOL_SPC_UNSPECIFIED) c.matrix = decoded->colorspace;
    if (c.primaries == AVCOL_PRI_UNSPECIFIED) c.primaries = decoded->color_primaries;
    if (c.transfer == AVCOL_TRC_UNSPECIFIED) c.transfer = decoded->color_trc;
    if (c.range == AVCOL_RANGE_UNSPECIFIED) c.range = decoded->color_range;
    if (c.siting == AVCHROMA_LOC_UNSPECIFIED) c.siting = decoded->chroma_location;
  }
  const AVFrame& planes = in_planes();
  frame.allocate(info.format);
  for (size_t p = 0; p < info.format.planes(); ++p)
    copy_plane(planes.data[p], planes.linesize[p], info.format.bits > 8, frame.planes[p]);
  const double ticks = 1.0 / (info.frame_rate.value() * info.time_base.value());
  const auto usual = std::max<int64_t>(1, std::isfinite(ticks) ? std::llround(ticks) : 1);
  const int64_t stamp = decoded->best_effort_timestamp;
  frame.pts = stamp != AV_NOPTS_VALUE ? stamp : last_pts == INT64_MIN ? 0 : last_pts + usual;
  if (last_pts != INT64_MIN) frame.pts = std::max(frame.pts, last_pts + 1);
  const int64_t duration = frame_duration(*decoded);
  frame.duration = duration > 0 ? duration : usual;
  frame.key = is_key_frame(*decoded);
  last_pts = frame.pts;
  end_pts = std::max(end_pts, frame.pts + frame.duration);
  ++frames;
  av_frame_unref(decoded.get());
}

Reader::Reader(const std::string& path, const ReaderOptions& options) : state_(std::make_unique<State>()) {
  av_log_set_level(AV_LOG_FATAL);  // what matters comes back as errors
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
  if (state_->ended) return false;
  if (!state_->decode()) {
    state_->check_end();
    return false;
  }
  state_->take(frame);
  return true;
}

void Reader::rewind() {
  State& s = *state_;
  const int error = av_seek_frame(s.file.get(), s.info.stream, INT64_MIN, AVSEEK_FLAG_BACKWARD);
  const bool opened_anew = error < 0 && s.frames > 0;
  if (opened_anew) {  // demuxers of raw streams know no seeking
    auto fresh = std::make_unique<State>();
    fresh->path = s.path;
    fresh->options = s.options;
    fresh->open();
    state_ = std::move(fresh);
    return;
  }
  avcodec_flush_buffers(s.decoder.get());
  s.drained = s.ended = false;
  s.frames = 0;
  s.last_pts = INT64_MIN;
  s.end_pts = 0;
}

}  // namespace cairn::video
