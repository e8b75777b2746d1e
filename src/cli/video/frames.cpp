#include "cli/video/frames.hpp"

#include <memory>

#include "cli/video/told.hpp"
#include "video/restored_reader.hpp"

namespace cairn::cli {
namespace {

struct Frames {
  video::RestoredReader reader;
  video::Frame frame{};
};

VideoShape shape_of(const video::RestoredReader& reader) {
  const video::VideoInfo& info = reader.info();
  const auto& restoration = reader.file().restoration;
  VideoShape shape{};
  shape.width = info.format.width;
  shape.height = info.format.height;
  shape.small_width = restoration ? restoration->small_width : reader.stored_format().width;
  shape.small_height = restoration ? restoration->small_height : reader.stored_format().height;
  shape.bits = info.format.bits;
  shape.chroma = static_cast<int32_t>(info.format.chroma);
  shape.restored = restoration ? 1 : 0;
  shape.frames = info.frames;
  shape.seconds_per_tick = info.time_base.value();
  shape.frame_rate = info.frame_rate.value();
  shape.matrix = info.colour.matrix;
  shape.primaries = info.colour.primaries;
  shape.transfer = info.colour.transfer;
  shape.range = info.colour.range;
  return shape;
}

}  // namespace

int open_frames(const char* path, uint32_t threads, int32_t keep_going, void** reader, VideoShape* shape,
                char* message, size_t size) {
  return told(message, size, [&] {
    video::RestoreOptions restore;
    restore.threads = threads;
    video::ReaderOptions decode;
    decode.threads = static_cast<int>(threads);
    decode.keep_going = keep_going != 0;
    auto frames = std::make_unique<Frames>(Frames{video::RestoredReader(path, restore, decode, true)});
    *shape = shape_of(frames->reader);
    *reader = frames.release();
  });
}

int next_frame(void* reader, VideoPicture* picture, char* message, size_t size) {
  return told(message, size, [&] {
    auto& frames = *static_cast<Frames*>(reader);
    *picture = {};
    if (!frames.reader.read(frames.frame)) return;
    picture->planes = static_cast<uint32_t>(frames.frame.format.planes());
    for (size_t i = 0; i < picture->planes; ++i) {
      const video::Plane& plane = frames.frame.planes[i];
      picture->samples[i] = plane.samples.data();
      picture->width[i] = plane.width;
      picture->height[i] = plane.height;
    }
    picture->pts = frames.frame.pts;
    picture->duration = frames.frame.duration;
  });
}

int rewind_frames(void* reader, char* message, size_t size) {
  return told(message, size, [&] { static_cast<Frames*>(reader)->reader.rewind(); });
}

void close_frames(void* reader) {
  delete static_cast<Frames*>(reader);
}

}  // namespace cairn::cli
