#include "video/lossless.hpp"

#include <cmath>
#include <deque>
#include <optional>

#include "base/error.hpp"
#include "video/frame_buffer.hpp"
#include "video/muxer.hpp"
#include "video/output_file.hpp"
#include "video/rest.hpp"

namespace cairn::video {

struct LosslessFile::State {
  State(const std::string& path, const VideoInfo& info)
      : output(path), format(info.format), muxer(path, output.part()) {}

  OutputFile output;
  Format format;
  Muxer muxer;
  std::optional<Rest> rest;
  AVStream* track = nullptr;
  Libav<AVCodecContext> encoder;
  Libav<AVFrame> frame;
  Libav<AVPacket> packet;
  std::deque<int64_t> durations;  // of the frames in the encoder

  void check(int error) const {
    if (error < 0) fail(ErrorCode::io, "{}: cannot be written: {}", output.path(), libav_reason(error));
  }
  void open_video(const VideoInfo& info);
  void drain();
};

void LosslessFile::State::open_video(const VideoInfo& info) {
  const AVCodec* codec = avcodec_find_encoder(AV_CODEC_ID_FFV1);
  if (codec == nullptr) fail(ErrorCode::unsupported, "{}: this libav cannot write FFV1", output.path());
  encoder.reset(avcodec_alloc_context3(codec));
  frame.reset(av_frame_alloc());
  packet.reset(av_packet_alloc());
  if (encoder == nullptr || frame == nullptr || packet == nullptr)
    fail(ErrorCode::out_of_memory, "{}: no memory for an encoder", output.path());
  encoder->width = static_cast<int>(format.width);
  encoder->height = static_cast<int>(format.height);
  encoder->pix_fmt = av_get_pix_fmt(format.pixel_format().c_str());
  encoder->time_base = {static_cast<int>(info.time_base.numerator),
                        static_cast<int>(info.time_base.denominator)};
  encoder->colorspace = static_cast<AVColorSpace>(info.colour.matrix);
  encoder->color_primaries = static_cast<AVColorPrimaries>(info.colour.primaries);
  encoder->color_trc = static_cast<AVColorTransferCharacteristic>(info.colour.transfer);
  encoder->color_range = static_cast<AVColorRange>(info.colour.range);
  encoder->chroma_sample_location = static_cast<AVChromaLocation>(info.colour.siting);
  encoder->sample_aspect_ratio = {static_cast<int>(info.sample_aspect.numerator),
                                  static_cast<int>(info.sample_aspect.denominator)};
  // Version 3 cuts frames into slices; of frames of a sample or two it makes zeros (libavcodec 59).
  const bool tiny = format.width < 16 || format.height < 16;
  encoder->level = tiny ? 1 : 3;
  if (tiny || format.bits > 8) av_opt_set(encoder->priv_data, "coder", "range_def", 0);
  encoder->gop_size = 1;
  encoder->strict_std_compliance = FF_COMPLIANCE_NORMAL;
  encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  check(avcodec_open2(encoder.get(), codec, nullptr));
  check(avcodec_parameters_from_context(track->codecpar, encoder.get()));
  muxer.describe(*track, shown(info));
}

void LosslessFile::State::drain() {
  while (avcodec_receive_packet(encoder.get(), packet.get()) == 0) {
    if (!durations.empty()) {
      packet->duration = durations.front();
      durations.pop_front();
    }
    muxer.write(*packet, encoder->time_base, track->index);
  }
}

LosslessFile::LosslessFile(const std::string& path, const VideoInfo& info, const std::string& from,
                           const Keep& keep)
    : state_(std::make_unique<State>(path, info)) {
  State& s = *state_;
  if (!from.empty()) s.rest.emplace(from, keep);
  s.track = s.rest ? &s.rest->declare(s.muxer) : &s.muxer.add_stream();
  s.open_video(info);
  s.muxer.begin();
}
LosslessFile::~LosslessFile() = default;
LosslessFile::LosslessFile(LosslessFile&&) noexcept = default;
LosslessFile& LosslessFile::operator=(LosslessFile&&) noexcept = default;

void LosslessFile::write(const Frame& frame) {
  State& s = *state_;
  if (frame.format != s.format)
    fail(ErrorCode::invalid_argument, "{}: a frame of another format", s.output.path());
  fill(frame, *s.encoder, *s.frame);
  s.frame->pts = frame.pts;
  set_duration(*s.frame, frame.duration);
  s.durations.push_back(frame.duration);
  if (s.rest) s.rest->copy(s.muxer, static_cast<double>(frame.pts) * av_q2d(s.encoder->time_base));
  s.check(avcodec_send_frame(s.encoder.get(), s.frame.get()));
  s.drain();
}

void LosslessFile::finish() {
  State& s = *state_;
  s.check(avcodec_send_frame(s.encoder.get(), nullptr));
  s.drain();
  if (s.rest) s.rest->copy(s.muxer, INFINITY);
  s.muxer.end();
  s.output.keep();
}

std::vector<std::string> LosslessFile::notes() const {
  return state_->rest ? state_->rest->notes() : std::vector<std::string>();
}

}  // namespace cairn::video
