#include <array>
#include <atomic>
#include <memory>
#include <string>

#include "base/plugin.hpp"
#include "cairn/video.h"
#include "capi/call.hpp"
#include "capi/objects.hpp"
#include "capi/options.hpp"
#include "capi/video_plugin.hpp"

using namespace cairn;
using namespace cairn::capi;

namespace {

constexpr cairn_restorer_options kUsual = {sizeof(cairn_restorer_options), 0, 0, -1};

struct Restorer {
  static constexpr Kind kKind = Kind::restorer;
  Restorer(const char* path, const void* bytes, size_t byte_count, const cairn_restorer_options& options)
      : functions(video_plugin()) {
    call_plugin(functions.open_restorer, path, bytes, byte_count, options.threads, options.bits,
                options.chroma, &networks, &shape);
  }
  ~Restorer() { functions.close_restorer(networks); }
  Restorer(const Restorer&) = delete;
  Restorer& operator=(const Restorer&) = delete;

  Turn turn() { return {taken, "the restorer"}; }

  const VideoPlugin& functions;
  void* networks = nullptr;
  RestorerShape shape{};
  std::atomic<bool> taken{false};
};

cairn_restorer_options checked(const cairn_restorer_options* options, bool file) {
  const cairn_restorer_options given = read_options(options, kUsual, "cairn_restorer_options");
  if (given.threads > 1024)
    fail(ErrorCode::invalid_argument, "threads: {} is not in 0 to 1024", given.threads);
  const bool bits = given.bits == 8 || given.bits == 10 || (file && given.bits == 0);
  if (!bits)
    fail(ErrorCode::invalid_argument, "bits: {} is not 8 or 10{}", given.bits,
         given.bits == 0 ? ", and the attachment does not say" : "");
  if (given.chroma < (file ? -1 : 0) || given.chroma > CAIRN_CHROMA_444)
    fail(ErrorCode::invalid_argument, "chroma: {} is none of CAIRN_CHROMA_…{}", given.chroma,
         given.chroma == -1 ? ", and the attachment does not say" : "");
  return given;
}

// What the plug-in gets of an image, whose planes have room for width × height samples as the shape has them.
PictureView checked(const cairn_image* image, uint32_t width, uint32_t height, const RestorerShape& shape,
                    const char* what) {
  const cairn_image given = read_options(image, cairn_image{sizeof(cairn_image), 0, 0, {}, {}, {}}, what);
  if (given.width != width || given.height != height)
    fail(ErrorCode::invalid_argument, "{}: {}×{}, it must be {}×{}", what, given.width, given.height, width,
         height);
  PictureView view{};
  const size_t sample = shape.bits == 8 ? 1 : 2;
  for (size_t p = 0; p < (shape.chroma == CAIRN_CHROMA_NONE ? 1u : 3u); ++p) {
    const bool halved_x = p > 0 && shape.chroma != CAIRN_CHROMA_444,
               halved_y = p > 0 && shape.chroma == CAIRN_CHROMA_420;
    const size_t row = (halved_x ? (size_t{width} + 1) / 2 : width) * sample,
                 rows = halved_y ? (size_t{height} + 1) / 2 : height;
    const size_t stride = given.strides[p];
    if (given.planes[p] == nullptr) fail(ErrorCode::invalid_argument, "{}: plane {} is NULL", what, p);
    if (stride < row)
      fail(ErrorCode::invalid_argument, "{}: plane {} has a stride of {} bytes, and rows of {}", what, p,
           stride, row);
    if (given.bytes[p] < row || (given.bytes[p] - row) / stride < rows - 1)
      fail(ErrorCode::invalid_argument, "{}: plane {} has {} bytes, not {} rows of a stride of {}", what, p,
           given.bytes[p], rows, stride);
    view.planes[p] = given.planes[p];
    view.strides[p] = stride;
  }
  return view;
}

}  // namespace

void cairn_restorer_options_init(cairn_restorer_options* options, size_t size) {
  write_usual(options, size, kUsual);
}

cairn_status cairn_restorer_open(const char* path, const cairn_restorer_options* options,
                                 cairn_restorer** opened, cairn_error* error) {
  return call(error, [&] {
    require(opened, "opened");
    *opened = nullptr;
    const std::string file(text_of(path, "path"));
    const cairn_restorer_options given = checked(options, true);
    *opened = static_cast<cairn_restorer*>(
        open_handle(std::make_shared<Restorer>(file.c_str(), nullptr, size_t{0}, given)));
  });
}

cairn_status cairn_restorer_open_bytes(const void* bytes, size_t byte_count,
                                       const cairn_restorer_options* options, cairn_restorer** opened,
                                       cairn_error* error) {
  return call(error, [&] {
    require(opened, "opened");
    *opened = nullptr;
    require(bytes, "bytes");
    const cairn_restorer_options given = checked(options, false);
    *opened = static_cast<cairn_restorer*>(
        open_handle(std::make_shared<Restorer>(nullptr, bytes, byte_count, given)));
  });
}

void cairn_restorer_close(cairn_restorer* restorer) {
  quietly([&] { close_handle(Kind::restorer, restorer); });
}

cairn_status cairn_restorer_get_info(const cairn_restorer* restorer, cairn_restorer_info* info,
                                     cairn_error* error) {
  return call(error, [&] {
    const RestorerShape& shape = object_of<Restorer>(restorer)->shape;
    cairn_restorer_info told{};
    told.small_width = shape.small_width;
    told.small_height = shape.small_height;
    told.width = shape.width;
    told.height = shape.height;
    told.scale = shape.scale;
    told.bits = shape.bits;
    told.chroma = shape.chroma;
    told.networks = shape.networks;
    told.needs_before = shape.needs_before;
    told.needs_after = shape.needs_after;
    write_struct(info, told, "cairn_restorer_info");
  });
}

cairn_status cairn_restorer_restore(cairn_restorer* restorer, uint64_t frame, const cairn_image* before,
                                    const cairn_image* small, const cairn_image* after,
                                    const cairn_image* restored, cairn_error* error) {
  return call(error, [&] {
    const auto of = object_of<Restorer>(restorer);
    const RestorerShape& shape = of->shape;
    require(small, "small");
    require(restored, "restored");
    const auto neighbour = [&](const cairn_image* image, int32_t needed, const char* what,
                               PictureView& view) {
      if (image == nullptr || needed == 0) return static_cast<const PictureView*>(nullptr);
      view = checked(image, shape.small_width, shape.small_height, shape, what);
      return static_cast<const PictureView*>(&view);
    };
    PictureView views[2];
    const PictureView in = checked(small, shape.small_width, shape.small_height, shape, "small"),
                      out = checked(restored, shape.width, shape.height, shape, "restored");
    const PictureView* earlier = neighbour(before, shape.needs_before, "before", views[0]);
    const PictureView* later = neighbour(after, shape.needs_after, "after", views[1]);
    const Turn turn = of->turn();
    call_plugin(of->functions.restore, of->networks, frame, earlier, &in, later, &out);
  });
}

cairn_status cairn_restorer_network_at(const cairn_restorer* restorer, uint64_t frame, uint32_t x, uint32_t y,
                                       uint32_t* network, cairn_error* error) {
  return call(error, [&] {
    const auto of = object_of<Restorer>(restorer);
    require(network, "network");
    if (x >= of->shape.small_width || y >= of->shape.small_height)
      fail(ErrorCode::invalid_argument, "({}, {}) is not in {}×{}", x, y, of->shape.small_width,
           of->shape.small_height);
    *network = of->functions.network_at(of->networks, frame, x, y);
  });
}
