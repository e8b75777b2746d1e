#include "video/coder.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/near_match.hpp"
#include "base/thread_pool.hpp"
#include "video/frame_buffer.hpp"
#include "video/hdr.hpp"
#include "video/libav.hpp"
#include "video/y4m.hpp"

namespace cairn::video {
namespace {

struct Known {
  Codec codec;
  const char *name, *encoder, *preset;
  double largest_crf;
};
constexpr std::array<Known, 3> kKnown = {{{Codec::x264, "x264", "libx264", "slow", 51},
                                          {Codec::x265, "x265", "libx265", "slow", 51},
                                          {Codec::av1, "av1", "libsvtav1", "5", 63}}};

constexpr int kLargestAspect = 65535;  // of H.264's and H.265's 16 bits

const Known& known(Codec codec) {
  return kKnown[static_cast<size_t>(codec)];
}

// With AVX-512 x264 (r3095, r3192) passes macroblock tree costs on by eight macroblocks of a row, the
// last eight beyond its end where it is no multiple: its choices then depend on what memory held before.
bool reads_beyond_rows([[maybe_unused]] uint32_t width) {
#if defined(__x86_64__)
  return (width + 15) / 16 % 8 != 0 && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

}  // namespace

const char* name(Codec codec) {
  return known(codec).name;
}

uint32_t smallest_side(Codec codec) {
  return codec == Codec::x264 ? 1 : 64;
}

double largest_crf(Codec codec) {
  return known(codec).largest_crf;
}

Codec parse_codec(std::string_view text) {
  for (const Known& each : kKnown) {
    if (text == each.name) return each.codec;
  }
  fail(ErrorCode::invalid_argument, "\"{}\" is not a codec: x264, x265, av1", text);
}

void check_preset(Codec codec, const std::string& preset) {
  std::vector<std::string> presets = {"ultrafast", "superfast", "veryfast", "faster",   "fast",
                                      "medium",    "slow",      "slower",   "veryslow", "placebo"};
  if (codec == Codec::av1) {
    presets.clear();
    for (int speed = 0; speed <= 13; ++speed) presets.push_back(std::to_string(speed));
  }
  if (std::ranges::find(presets, preset) != presets.end()) return;
  fail(ErrorCode::invalid_argument, "--preset: '{}' is none of {}'s: {}{}", preset, name(codec),
       fmt::join(presets, ", "), did_you_mean(preset, presets));
}

bool available(Codec codec) {
  return avcodec_find_encoder_by_name(known(codec).encoder) != nullptr;
}

struct Coder::State {
  Format format;
  Shown shown;
  std::string what;  // for errors
  Libav<AVCodecContext> encoder;
  Libav<AVFrame> frame;
  Libav<AVPacket> packet;
  CodedVideo video;
  std::vector<int64_t> stamps;  // of the frames given: the encoder sees their numbers
  std::vector<int64_t> durations;

  void open(const VideoInfo& info, const CoderOptions& options);
  void receive();
  void send(const AVFrame* next);
  int64_t time_of(int64_t number) const;
};

void Coder::State::open(const VideoInfo& info, const CoderOptions& options) {
  const Known& chosen = known(options.codec);
  what = chosen.encoder;
  const AVCodec* codec = avcodec_find_encoder_by_name(chosen.encoder);
  if (codec == nullptr) fail(ErrorCode::unsupported, "this libav has no encoder {}", chosen.encoder);
  encoder.reset(avcodec_alloc_context3(codec));
  frame.reset(av_frame_alloc());
  packet.reset(av_packet_alloc());
  if (encoder == nullptr || frame == nullptr || packet == nullptr)
    fail(ErrorCode::out_of_memory, "{}: no memory for an encoder", what);
  AVCodecContext& e = *encoder;
  e.width = static_cast<int>(format.width);
  e.height = static_cast<int>(format.height);
  e.pix_fmt = av_get_pix_fmt(format.pixel_format().c_str());
  // Frames are told by their numbers at one rate, the mean where rates vary: encoders' rate control takes odd
  // time bases ill. The true time stamps come back in finish().
  e.framerate = av_d2q(std::clamp(steady_rate(info).value(), 1.0, 480.0), 100000);
  e.time_base = av_inv_q(e.framerate);
  e.colorspace = static_cast<AVColorSpace>(info.colour.matrix);
  e.color_primaries = static_cast<AVColorPrimaries>(info.colour.primaries);
  e.color_trc = static_cast<AVColorTransferCharacteristic>(info.colour.transfer);
  e.color_range = static_cast<AVColorRange>(info.colour.range);
  e.chroma_sample_location = static_cast<AVChromaLocation>(info.colour.siting);
  av_reduce(&e.sample_aspect_ratio.num, &e.sample_aspect_ratio.den, info.sample_aspect.numerator,
            info.sample_aspect.denominator, kLargestAspect);
  std::string more = hdr_settings(options.codec, info.side_data);
  e.flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  const size_t processors = usable_processors();
  if (options.key_seconds > 0)
    e.gop_size = std::max(1, static_cast<int>(std::lround(options.key_seconds * av_q2d(e.framerate))));
  e.thread_count = options.threads > 0 ? options.threads : static_cast<int>(std::min<size_t>(processors, 16));
  AVDictionary* settings = nullptr;
  av_dict_set(&settings, "preset", options.preset.empty() ? chosen.preset : options.preset.c_str(), 0);
  av_dict_set(&settings, "crf", fmt::format("{}", options.crf).c_str(), 0);
  switch (options.codec) {
    case Codec::x264:
      av_dict_set(&settings, "tune", "psnr", 0);
      if (reads_beyond_rows(format.width)) more += ":asm=AVX2";
      if (!more.empty()) av_dict_set(&settings, "x264-params", more.substr(1).c_str(), 0);
      break;
    case Codec::x265:
      av_dict_set(&settings, "tune", "psnr", 0);
      av_dict_set(&settings, "x265-params",
                  fmt::format("log-level=error:info=0:pools={}{}{}", e.thread_count,
                              options.threads > 0 ? ":frame-threads=1" : "", more)
                      .c_str(),
                  0);
      break;
    case Codec::av1:
      setenv("SVT_LOG", "1", 0);  // errors alone: it writes to standard error itself
      av_dict_set(&settings, "svtav1-params",
                  fmt::format("tune=1:lp={}{}{}", e.thread_count,
                              options.loop_restoration ? "" : ":enable-restoration=0", more)
                      .c_str(),
                  0);
      break;
  }
  if (std::min(format.width, format.height) < smallest_side(options.codec)) {
    av_dict_free(&settings);
    fail(ErrorCode::unsupported, "{}: {}×{} is too small for it ({} at least; x264 takes any size)", what,
         format.width, format.height, smallest_side(options.codec));
  }
  const int error = avcodec_open2(&e, codec, &settings);
  const AVDictionaryEntry* unused = av_dict_get(settings, "", nullptr, AV_DICT_IGNORE_SUFFIX);
  const std::string ignored = unused == nullptr ? "" : unused->key;
  av_dict_free(&settings);
  if (error < 0 && !options.preset.empty()) {
    CoderOptions usual = options;
    usual.preset.clear();
    open(info, usual);  // refuses in its own words what is not the preset's fault
    fail(ErrorCode::invalid_argument, "--preset {}: {} does not know it", options.preset, what);
  }
  if (error < 0) {
    fail(ErrorCode::unsupported, "{}: refuses {}×{} {}: {}", what, format.width, format.height,
         format.pixel_format(), libav_reason(error));
  }
  if (!ignored.empty()) fail(ErrorCode::unsupported, "{}: does not know the setting {}", what, ignored);
}

int64_t Coder::State::time_of(int64_t number) const {
  // Before the first frame (decoding times of reordered frames) time goes on at the first duration.
  if (number < 0) return stamps.front() + number * durations.front();
  if (number < static_cast<int64_t>(stamps.size())) return stamps[static_cast<size_t>(number)];
  return stamps.back() + (number - static_cast<int64_t>(stamps.size()) + 1) * durations.back();
}

void Coder::State::receive() {
  while (true) {
    const int error = avcodec_receive_packet(encoder.get(), packet.get());
    if (error == AVERROR(EAGAIN) || error == AVERROR_EOF) return;
    if (error < 0) fail(ErrorCode::io, "{}: {}", what, libav_reason(error));
    CodedPacket coded;
    coded.data.assign(packet->data, packet->data + packet->size);
    coded.pts = packet->pts;
    coded.dts = packet->dts;
    coded.key = (packet->flags & AV_PKT_FLAG_KEY) != 0;
    video.packets.push_back(std::move(coded));
    av_packet_unref(packet.get());
  }
}

void Coder::State::send(const AVFrame* next) {
  const int error = avcodec_send_frame(encoder.get(), next);
  if (error < 0) fail(ErrorCode::io, "{}: {}", what, libav_reason(error));
  receive();
}

Coder::Coder(const Format& format, const VideoInfo& info, const CoderOptions& options)
    : state_(std::make_unique<State>()) {
  state_->format = format;
  state_->shown = shown(info);
  state_->open(info, options);
}

Coder::~Coder() {
  // libsvtav1 1.4 waits for ever when it is closed before its first frame.
  State& s = *state_;
  if (s.encoder == nullptr || !s.stamps.empty() || s.encoder->codec_id != AV_CODEC_ID_AV1) return;
  av_frame_unref(s.frame.get());
  s.frame->format = s.encoder->pix_fmt;
  s.frame->width = s.encoder->width;
  s.frame->height = s.encoder->height;
  s.frame->pts = 0;
  if (av_frame_get_buffer(s.frame.get(), 0) >= 0) avcodec_send_frame(s.encoder.get(), s.frame.get());
}

void Coder::write(const Frame& from) {
  State& s = *state_;
  throw_if_interrupted();
  fill(from, *s.encoder, *s.frame);
  s.frame->pts = static_cast<int64_t>(s.stamps.size());
  s.stamps.push_back(from.pts);
  s.durations.push_back(std::max<int64_t>(from.duration, 1));
  s.send(s.frame.get());
}

CodedVideo Coder::finish() {
  State& s = *state_;
  if (s.stamps.empty()) fail(ErrorCode::format, "{}: no frames to encode", s.what);
  s.send(nullptr);
  CodedVideo& video = s.video;
  video.parameters.reset(avcodec_parameters_alloc());
  if (video.parameters == nullptr ||
      avcodec_parameters_from_context(video.parameters.get(), s.encoder.get()) < 0)
    fail(ErrorCode::out_of_memory, "{}: no memory for a track", s.what);
  video.shown = s.shown;
  for (CodedPacket& packet : video.packets) {
    const auto number =
        static_cast<size_t>(std::clamp<int64_t>(packet.pts, 0, static_cast<int64_t>(s.stamps.size()) - 1));
    packet.duration = s.durations[number];
    packet.pts = s.time_of(packet.pts);
    packet.dts = std::min(s.time_of(packet.dts), packet.pts);
  }
  return std::move(video);
}

}  // namespace cairn::video
