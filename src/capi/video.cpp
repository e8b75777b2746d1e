#include "cairn/video.h"

#include <atomic>
#include <memory>
#include <string>

#include "capi/call.hpp"
#include "capi/objects.hpp"
#include "capi/options.hpp"
#include "capi/video_plugin.hpp"

using namespace cairn;
using namespace cairn::capi;

namespace {

constexpr cairn_video_options kUsual = {sizeof(cairn_video_options), 0, 0};

struct Video {
  static constexpr Kind kKind = Kind::video;
  Video(const std::string& path, const cairn_video_options& options) : functions(video_plugin()) {
    call_plugin(functions.open, path.c_str(), options.threads, options.keep_going, &reader, &shape);
  }
  ~Video() { functions.close(reader); }
  Video(const Video&) = delete;
  Video& operator=(const Video&) = delete;

  Turn turn() { return {taken, "the video"}; }

  const VideoPlugin& functions;
  void* reader = nullptr;
  VideoShape shape{};
  std::atomic<bool> taken{false};
};

}  // namespace

void cairn_video_options_init(cairn_video_options* options, size_t size) {
  write_usual(options, size, kUsual);
}

cairn_status cairn_video_open(const char* path, const cairn_video_options* options, cairn_video** opened,
                              cairn_error* error) {
  return call(error, [&] {
    require(opened, "opened");
    *opened = nullptr;
    const std::string file(text_of(path, "path"));
    const cairn_video_options given = read_options(options, kUsual, "cairn_video_options");
    if (given.threads > 1024)
      fail(ErrorCode::invalid_argument, "threads: {} is not in 0 to 1024", given.threads);
    *opened = static_cast<cairn_video*>(open_handle(std::make_shared<Video>(file, given)));
  });
}

void cairn_video_close(cairn_video* video) {
  quietly([&] { close_handle(Kind::video, video); });
}

cairn_status cairn_video_get_info(const cairn_video* video, cairn_video_info* info, cairn_error* error) {
  return call(error, [&] {
    const VideoShape& shape = object_of<Video>(video)->shape;
    cairn_video_info told{};
    told.width = shape.width;
    told.height = shape.height;
    told.small_width = shape.small_width;
    told.small_height = shape.small_height;
    told.bits = shape.bits;
    told.chroma = shape.chroma;
    told.restored = shape.restored;
    told.frames = shape.frames;
    told.seconds_per_tick = shape.seconds_per_tick;
    told.frame_rate = shape.frame_rate;
    told.matrix = shape.matrix;
    told.primaries = shape.primaries;
    told.transfer = shape.transfer;
    told.range = shape.range;
    write_struct(info, told, "cairn_video_info");
  });
}

cairn_status cairn_video_next(cairn_video* video, cairn_video_frame* frame, cairn_error* error) {
  return call(error, [&] {
    write_struct(frame, cairn_video_frame{}, "cairn_video_frame");
    const auto of = object_of<Video>(video);
    const Turn turn = of->turn();
    VideoPicture picture{};
    call_plugin(of->functions.next, of->reader, &picture);
    cairn_video_frame told{};
    told.plane_count = picture.planes;
    for (size_t plane = 0; plane < picture.planes; ++plane) {
      told.planes[plane] = picture.samples[plane];
      told.width[plane] = picture.width[plane];
      told.height[plane] = picture.height[plane];
    }
    told.pts = picture.pts;
    told.duration = picture.duration;
    write_struct(frame, told, "cairn_video_frame");
  });
}

cairn_status cairn_video_rewind(cairn_video* video, cairn_error* error) {
  return call(error, [&] {
    const auto of = object_of<Video>(video);
    const Turn turn = of->turn();
    call_plugin(of->functions.rewind, of->reader);
  });
}
