#include "video/plane_reader.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace cairn::video {
namespace {

void copy_plane(const uint8_t* data, int line, uint32_t peak, Plane& plane) {
  for (uint32_t y = 0; y < plane.height; ++y) {
    const uint8_t* row = data + static_cast<ptrdiff_t>(y) * line;
    uint16_t* out = plane.row(y);
    if (peak > 255) {
      const auto* wide = reinterpret_cast<const uint16_t*>(row);
      for (uint32_t x = 0; x < plane.width; ++x) out[x] = std::min(wide[x], static_cast<uint16_t>(peak));
    } else {
      for (uint32_t x = 0; x < plane.width; ++x) out[x] = row[x];
    }
  }
}

}  // namespace

bool is_rgb(AVPixelFormat pixels) {
  const AVPixFmtDescriptor* d = av_pix_fmt_desc_get(pixels);
  return d != nullptr && (d->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) != 0;
}

Format nearest_format(AVPixelFormat pixels, int width, int height) {
  const AVPixFmtDescriptor* d = av_pix_fmt_desc_get(pixels);
  Format format;
  format.width = static_cast<uint32_t>(width);
  format.height = static_cast<uint32_t>(height);
  if (d == nullptr) return format;
  format.bits = d->comp[0].depth > 8 ? 10 : 8;
  if (d->nb_components < 3 && !is_rgb(pixels)) {
    format.chroma = Chroma::none;
  } else if (is_rgb(pixels) || d->log2_chroma_w == 0) {
    format.chroma = Chroma::c444;
  } else {
    format.chroma = d->log2_chroma_h == 0 ? Chroma::c422 : Chroma::c420;
  }
  return format;
}

AVPixelFormat libav_format(const Format& format) {
  return av_get_pix_fmt(format.pixel_format().c_str());
}

AVPixelFormat without_range(AVPixelFormat pixels, bool& full) {
  full = pixels == AV_PIX_FMT_YUVJ420P || pixels == AV_PIX_FMT_YUVJ422P || pixels == AV_PIX_FMT_YUVJ444P;
  switch (pixels) {
    case AV_PIX_FMT_YUVJ420P:
      return AV_PIX_FMT_YUV420P;
    case AV_PIX_FMT_YUVJ422P:
      return AV_PIX_FMT_YUV422P;
    case AV_PIX_FMT_YUVJ444P:
      return AV_PIX_FMT_YUV444P;
    default:
      return pixels;
  }
}

const AVFrame& PlaneReader::converted(const AVFrame& from, const Format& format, const Colour& colour,
                                      const std::string& name) {
  bool full = false;
  const auto own = static_cast<AVPixelFormat>(from.format);
  const AVPixelFormat pixels = without_range(own, full), wanted = libav_format(format);
  const auto width = static_cast<int>(format.width), height = static_cast<int>(format.height);
  if (pixels == wanted && from.width == width && from.height == height) return from;
  if (converted_ == nullptr) {
    converted_.reset(av_frame_alloc());
    if (converted_ == nullptr) fail(ErrorCode::out_of_memory, "{}: no memory for a frame", name);
    converted_->format = wanted;
    converted_->width = width;
    converted_->height = height;
    if (av_frame_get_buffer(converted_.get(), 0) < 0)
      fail(ErrorCode::out_of_memory, "{}: no memory for a frame", name);
  }
  SwsContext* next =
      sws_getCachedContext(scaler_.release(), from.width, from.height, pixels, width, height, wanted,
                           SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, nullptr, nullptr, nullptr);
  scaler_.reset(next);
  if (next == nullptr) fail(ErrorCode::unsupported, "{}: pixel format {}", name, av_get_pix_fmt_name(own));
  const bool rgb = is_rgb(pixels), wide = full || colour.range == AVCOL_RANGE_JPEG;
  const int* coefficients = sws_getCoefficients(rgb ? SWS_CS_ITU709 : colour.matrix);
  sws_setColorspaceDetails(next, coefficients, rgb || wide ? 1 : 0, coefficients, !rgb && wide ? 1 : 0, 0,
                           1 << 16, 1 << 16);
  sws_scale(next, from.data, from.linesize, 0, from.height, converted_->data, converted_->linesize);
  return *converted_;
}

void PlaneReader::read(const AVFrame& from, const Format& format, const Colour& colour,
                       const std::string& name, Frame& out) {
  bool full = false;
  Format own = format;
  if (nearest_format(without_range(static_cast<AVPixelFormat>(from.format), full), 1, 1).chroma ==
      Chroma::none)
    own.chroma = Chroma::none;
  const AVFrame& planes = converted(from, own, colour, name);
  out.allocate(format);
  for (size_t p = 0; p < own.planes(); ++p)
    copy_plane(planes.data[p], planes.linesize[p], format.peak(), out.planes[p]);
  for (size_t p = own.planes(); p < format.planes(); ++p)
    std::ranges::fill(out.planes[p].samples, static_cast<uint16_t>((format.peak() + 1) / 2));
}

}  // namespace cairn::video
