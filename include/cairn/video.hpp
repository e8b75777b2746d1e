#ifndef CAIRN_VIDEO_HPP
#define CAIRN_VIDEO_HPP

#include <cairn/video.h>

#include <cairn/base.hpp>

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

}  // namespace v0
}  // namespace cairn

#endif
