#include "cli/video/restorer.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <span>

#include "cli/video/told.hpp"
#include "video/container.hpp"
#include "video/reader.hpp"
#include "video/restore.hpp"

namespace cairn::cli {
namespace {

struct Networks {
  video::Restoration restoration;
  video::Format small;
  video::Restorer restorer;
  std::array<video::Frame, 3> frames{};  // this one, before, after
  video::Frame restored{};
};

void take(const PictureView& view, const video::Format& format, video::Frame& frame) {
  frame.allocate(format);
  for (size_t p = 0; p < format.planes(); ++p) {
    video::Plane& plane = frame.planes[p];
    for (uint32_t y = 0; y < plane.height; ++y) {
      const auto* line = static_cast<const unsigned char*>(view.planes[p]) + y * view.strides[p];
      uint16_t* row = plane.row(y);
      if (format.bits == 8) {
        std::copy_n(line, plane.width, row);
      } else {
        std::memcpy(row, line, plane.width * 2ul);
        for (uint32_t x = 0; x < plane.width; ++x)
          row[x] = std::min(row[x], static_cast<uint16_t>(format.peak()));
      }
    }
  }
}

void give(const video::Frame& frame, const PictureView& view) {
  for (size_t p = 0; p < frame.format.planes(); ++p) {
    const video::Plane& plane = frame.planes[p];
    for (uint32_t y = 0; y < plane.height; ++y) {
      auto* line = static_cast<unsigned char*>(view.planes[p]) + y * view.strides[p];
      const uint16_t* row = plane.row(y);
      if (frame.format.bits == 8) {
        std::transform(row, row + plane.width, line,
                       [](uint16_t s) { return static_cast<unsigned char>(s); });
      } else {
        std::memcpy(line, row, plane.width * 2ul);
      }
    }
  }
}

RestorerShape shape_of(const Networks& networks) {
  const video::Restoration& r = networks.restoration;
  return {r.small_width,
          r.small_height,
          r.width,
          r.height,
          r.scale,
          networks.small.bits,
          static_cast<int32_t>(networks.small.chroma),
          static_cast<uint32_t>(r.networks.size()),
          networks.restorer.needs_before() ? 1 : 0,
          networks.restorer.needs_after() ? 1 : 0};
}

}  // namespace

int open_restorer(const char* path, const void* bytes, size_t byte_count, uint32_t threads, uint32_t bits,
                  int32_t chroma, void** restorer, RestorerShape* shape, char* message, size_t size) {
  return told(message, size, [&] {
    const std::string what = path != nullptr ? path : "the attachment";
    video::Restoration restoration;
    video::Format small;
    if (path != nullptr) {
      video::CairnFile file = video::read_cairn_file(path);
      if (!file.restoration) fail(ErrorCode::invalid_argument, "{}: it has no networks", what);
      restoration = std::move(*file.restoration);
      small = video::Reader(path).info().format;
    } else {
      restoration = video::read_attachment({static_cast<const std::byte*>(bytes), byte_count}, what);
      small.width = restoration.small_width;
      small.height = restoration.small_height;
    }
    if (bits != 0) small.bits = bits;
    if (chroma >= 0) small.chroma = static_cast<video::Chroma>(chroma);
    video::RestoreOptions options;
    options.threads = threads;
    video::Restorer made(restoration, small, what, options);
    auto networks = std::make_unique<Networks>(Networks{std::move(restoration), small, std::move(made)});
    *shape = shape_of(*networks);
    *restorer = networks.release();
  });
}

int restore_picture(void* restorer, uint64_t frame, const PictureView* before, const PictureView* small,
                    const PictureView* after, const PictureView* restored, char* message, size_t size) {
  return told(message, size, [&] {
    auto& n = *static_cast<Networks*>(restorer);
    const std::array<const PictureView*, 3> views = {small, before, after};
    for (size_t i = 0; i < views.size(); ++i) {
      if (views[i] != nullptr) take(*views[i], n.small, n.frames[i]);
    }
    n.restorer.restore(frame, before == nullptr ? nullptr : &n.frames[1], n.frames[0],
                       after == nullptr ? nullptr : &n.frames[2], n.restored);
    give(n.restored, *restored);
  });
}

uint32_t network_at(const void* restorer, uint64_t frame, uint32_t x, uint32_t y) {
  const video::Restoration& r = static_cast<const Networks*>(restorer)->restoration;
  const uint32_t patch =
      r.labels ? y / r.labels->patch_height * r.labels->columns + x / r.labels->patch_width : 0;
  return video::network_of(r, frame, patch);
}

void close_restorer(void* restorer) {
  delete static_cast<Networks*>(restorer);
}

}  // namespace cairn::cli
