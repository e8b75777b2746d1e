#include "video/picture.hpp"

#include <algorithm>
#include <array>

#include "base/error.hpp"
#include "video/libav.hpp"

namespace cairn::video {

struct RgbConverter::State {
  Format format;
  Libav<SwsContext> scaler;
  std::array<std::vector<uint8_t>, 3> bytes;  // planes of 8-bit samples
};

RgbConverter::RgbConverter(const Format& format, const Colour& colour) : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.format = format;
  const AVPixelFormat from = av_get_pix_fmt(format.pixel_format().c_str());
  const auto width = static_cast<int>(format.width), height = static_cast<int>(format.height);
  s.scaler.reset(sws_getContext(width, height, from, width, height, AV_PIX_FMT_RGB24,
                                SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, nullptr, nullptr,
                                nullptr));
  if (s.scaler == nullptr) fail(ErrorCode::unsupported, "no conversion of {} to RGB", format.pixel_format());
  int matrix = colour.matrix;
  if (matrix == AVCOL_SPC_UNSPECIFIED || matrix == AVCOL_SPC_RGB)
    matrix = format.height >= 720 ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
  const int* coefficients = sws_getCoefficients(matrix);
  sws_setColorspaceDetails(s.scaler.get(), coefficients, colour.range == AVCOL_RANGE_JPEG ? 1 : 0,
                           sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
}
RgbConverter::~RgbConverter() = default;
RgbConverter::RgbConverter(RgbConverter&&) noexcept = default;
RgbConverter& RgbConverter::operator=(RgbConverter&&) noexcept = default;

void RgbConverter::convert(const Frame& frame, Picture& out) {
  State& s = *state_;
  if (frame.format != s.format) fail(ErrorCode::invalid_argument, "RGB: a frame of another format");
  std::array<const uint8_t*, 4> data{};
  std::array<int, 4> lines{};
  for (size_t p = 0; p < s.format.planes(); ++p) {
    const Plane& plane = frame.planes[p];
    if (s.format.bits > 8) {
      data[p] = reinterpret_cast<const uint8_t*>(plane.samples.data());
      lines[p] = static_cast<int>(plane.width * 2);
    } else {
      s.bytes[p].resize(plane.samples.size());
      std::transform(plane.samples.begin(), plane.samples.end(), s.bytes[p].begin(),
                     [](uint16_t v) { return static_cast<uint8_t>(v); });
      data[p] = s.bytes[p].data();
      lines[p] = static_cast<int>(plane.width);
    }
  }
  out.width = s.format.width;
  out.height = s.format.height;
  // swscale's vector loops write a little past the end of rows.
  const size_t line = (static_cast<size_t>(out.width) * 3 + 63) / 64 * 64;
  std::vector<uint8_t> padded(line * out.height + 64);
  std::array<uint8_t*, 4> to = {padded.data(), nullptr, nullptr, nullptr};
  const std::array<int, 4> to_lines = {static_cast<int>(line), 0, 0, 0};
  sws_scale(s.scaler.get(), data.data(), lines.data(), 0, static_cast<int>(s.format.height), to.data(),
            to_lines.data());
  out.rgb.resize(static_cast<size_t>(out.width) * out.height * 3);
  for (uint32_t y = 0; y < out.height; ++y)
    std::copy_n(padded.data() + y * line, out.width * 3ul, out.rgb.data() + y * out.width * 3ul);
}

std::vector<uint8_t> encode_png(const Picture& picture, int compression) {
  const AVCodec* codec = avcodec_find_encoder(AV_CODEC_ID_PNG);
  if (codec == nullptr) fail(ErrorCode::unsupported, "this libav cannot write PNG");
  Libav<AVCodecContext> encoder(avcodec_alloc_context3(codec));
  Libav<AVFrame> frame(av_frame_alloc());
  Libav<AVPacket> packet(av_packet_alloc());
  if (encoder == nullptr || frame == nullptr || packet == nullptr)
    fail(ErrorCode::out_of_memory, "no memory for a PNG");
  encoder->width = frame->width = static_cast<int>(picture.width);
  encoder->height = frame->height = static_cast<int>(picture.height);
  encoder->pix_fmt = AV_PIX_FMT_RGB24;
  encoder->time_base = {1, 25};
  encoder->compression_level = compression;
  encoder->thread_count = 1;
  frame->format = AV_PIX_FMT_RGB24;
  int error = avcodec_open2(encoder.get(), codec, nullptr);
  if (error >= 0) error = av_frame_get_buffer(frame.get(), 0);
  for (uint32_t y = 0; error >= 0 && y < picture.height; ++y) {
    std::copy_n(picture.rgb.data() + y * picture.width * 3ul, picture.width * 3ul,
                frame->data[0] + static_cast<ptrdiff_t>(y) * frame->linesize[0]);
  }
  if (error >= 0) error = avcodec_send_frame(encoder.get(), frame.get());
  if (error >= 0) error = avcodec_send_frame(encoder.get(), nullptr);
  if (error >= 0) error = avcodec_receive_packet(encoder.get(), packet.get());
  if (error < 0) fail(ErrorCode::unsupported, "PNG: {}", libav_reason(error));
  return {packet->data, packet->data + packet->size};
}

}  // namespace cairn::video
