#ifndef CAIRN_VIDEO_HPP
#define CAIRN_VIDEO_HPP

#include <cairn/video.h>

#include <cairn/base.hpp>
#include <cstddef>
#include <cstdint>

namespace cairn {
inline namespace v0 {

struct VideoOptions : cairn_video_options {
  VideoOptions() { cairn_video_options_init(this, sizeof(cairn_video_options)); }
};

// A video, restored frame by frame; one call at a time (cairn/video.h).
class Video {
 public:
  explicit Video(const std::string& path, const VideoOptions& options = {}) {
    cairn_video* opened = nullptr;
    detail::check(cairn_video_open, path.c_str(), static_cast<const cairn_video_options*>(&options), &opened);
    video_.reset(opened);
  }

  cairn_video_info info() const {
    cairn_video_info info{};
    info.size = sizeof info;
    detail::check(cairn_video_get_info, video_.get(), &info);
    return info;
  }

  // False after the last one. The planes live until the next call.
  bool next(cairn_video_frame& frame) {
    frame.size = sizeof frame;
    detail::check(cairn_video_next, video_.get(), &frame);
    return frame.plane_count > 0;
  }
  void rewind() { detail::check(cairn_video_rewind, video_.get()); }

  cairn_video* get() const noexcept { return video_.get(); }

 private:
  detail::Owned<cairn_video, cairn_video_close> video_;
};

struct RestorerOptions : cairn_restorer_options {
  RestorerOptions() { cairn_restorer_options_init(this, sizeof(cairn_restorer_options)); }
};

// An image whose rows lie without gaps from `samples` on, plane after plane (cairn_image). chroma, bits: the
// restorer's.
inline cairn_image packed_image(void* samples, std::uint32_t width, std::uint32_t height, std::uint32_t bits,
                                std::int32_t chroma) {
  cairn_image image{};
  image.size = sizeof image;
  image.width = width;
  image.height = height;
  auto* to = static_cast<unsigned char*>(samples);
  for (int p = 0; p < (chroma == CAIRN_CHROMA_NONE ? 1 : 3); ++p) {
    const std::size_t w = p > 0 && chroma != CAIRN_CHROMA_444 ? (std::size_t{width} + 1) / 2 : width,
                      h = p > 0 && chroma == CAIRN_CHROMA_420 ? (std::size_t{height} + 1) / 2 : height;
    image.planes[p] = to;
    image.strides[p] = w * (bits == 8 ? 1 : 2);
    image.bytes[p] = image.strides[p] * h;
    to += image.bytes[p];
  }
  return image;
}

// A video's networks for who decodes it; one call at a time (cairn/video.h).
class Restorer {
 public:
  explicit Restorer(const std::string& path, const RestorerOptions& options = {}) {
    cairn_restorer* opened = nullptr;
    detail::check(cairn_restorer_open, path.c_str(), static_cast<const cairn_restorer_options*>(&options),
                  &opened);
    restorer_.reset(opened);
  }
  // From the attachment's bytes.
  Restorer(const void* bytes, std::size_t byte_count, const RestorerOptions& options) {
    cairn_restorer* opened = nullptr;
    detail::check(cairn_restorer_open_bytes, bytes, byte_count,
                  static_cast<const cairn_restorer_options*>(&options), &opened);
    restorer_.reset(opened);
  }

  cairn_restorer_info info() const {
    cairn_restorer_info info{};
    info.size = sizeof info;
    detail::check(cairn_restorer_get_info, restorer_.get(), &info);
    return info;
  }

  void restore(std::uint64_t frame, const cairn_image& small, const cairn_image& restored,
               const cairn_image* before = nullptr, const cairn_image* after = nullptr) {
    detail::check(cairn_restorer_restore, restorer_.get(), frame, before, &small, after, &restored);
  }
  std::uint32_t network_at(std::uint64_t frame, std::uint32_t x, std::uint32_t y) const {
    std::uint32_t network = 0;
    detail::check(cairn_restorer_network_at, restorer_.get(), frame, x, y, &network);
    return network;
  }

  cairn_restorer* get() const noexcept { return restorer_.get(); }

 private:
  detail::Owned<cairn_restorer, cairn_restorer_close> restorer_;
};

}  // namespace v0
}  // namespace cairn

#endif
