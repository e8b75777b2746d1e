#include "video/vmaf.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "base/error.hpp"

namespace cairn::video {
namespace {

constexpr const char* kModel = "vmaf_v0.6.1";

// libvmaf's interface, versions 2 and 3 (libvmaf.h, picture.h, model.h). Version 2's configuration lacks the
// last field: passed by value in memory, what it does not know is not looked at.
struct Configuration {
  int log_level = 0;
  unsigned threads = 1, subsample = 0;
  uint64_t cpumask = 0, gpumask = 0;
};
struct ModelConfiguration {
  const char* name = nullptr;
  uint64_t flags = 0;
};
struct Picture {
  int format = 0;
  unsigned bits = 0, width[3] = {}, height[3] = {};
  ptrdiff_t stride[3] = {};
  void* data[3] = {};
  void* rest[16] = {};  // the library's own, and room for what later versions add
};
constexpr int kMean = 3;

}  // namespace

struct Vmaf::State {
  void* library = nullptr;
  void *context = nullptr, *model = nullptr;
  Format format;
  unsigned frames = 0;
  int (*init)(void**, Configuration) = nullptr;
  int (*close)(void*) = nullptr;
  int (*load_model)(void**, ModelConfiguration*, const char*) = nullptr;
  void (*destroy_model)(void*) = nullptr;
  int (*use_model)(void*, void*) = nullptr;
  int (*allocate)(Picture*, int, unsigned, unsigned, unsigned) = nullptr;
  int (*release)(Picture*) = nullptr;
  int (*read)(void*, Picture*, Picture*, unsigned) = nullptr;
  int (*pooled)(void*, void*, int, double*, unsigned, unsigned) = nullptr;

  ~State() {
    if (context != nullptr) close(context);
    if (model != nullptr) destroy_model(model);
    if (library != nullptr) dlclose(library);
  }

  bool open(std::string& why);
  template <class Function>
  bool find(Function& function, const char* name, std::string& why) const {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr) why = fmt::format("libvmaf has no {}", name);
    return function != nullptr;
  }
  Picture copy(const Frame& frame) const;
};

bool Vmaf::State::open(std::string& why) {
  const char* chosen = std::getenv("CAIRN_VMAF");
  if (chosen != nullptr && *chosen != '\0') {
    library = dlopen(chosen, RTLD_NOW | RTLD_LOCAL);
  } else {
    for (const char* name : {"libvmaf.so.3", "libvmaf.so.1", "libvmaf.so"}) {
      if (library == nullptr) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    }
  }
  if (library == nullptr) {
    why = chosen != nullptr && *chosen != '\0' ? fmt::format("{} cannot be opened", chosen)
                                               : "there is no libvmaf";
    return false;
  }
  return find(init, "vmaf_init", why) && find(close, "vmaf_close", why) &&
         find(load_model, "vmaf_model_load", why) && find(destroy_model, "vmaf_model_destroy", why) &&
         find(use_model, "vmaf_use_features_from_model", why) && find(allocate, "vmaf_picture_alloc", why) &&
         find(release, "vmaf_picture_unref", why) && find(read, "vmaf_read_pictures", why) &&
         find(pooled, "vmaf_score_pooled", why);
}

Picture Vmaf::State::copy(const Frame& frame) const {
  Picture picture;
  const int layout = format.chroma == Chroma::c420 ? 1 : format.chroma == Chroma::c422 ? 2 : 3;
  const int status = allocate(&picture, layout, format.bits, format.width, format.height);
  if (status != 0) fail(ErrorCode::out_of_memory, "libvmaf has no memory for a picture ({})", status);
  for (size_t p = 0; p < format.planes(); ++p) {
    const Plane& plane = frame.planes[p];
    // The library may round odd chroma sizes down.
    const uint32_t width = std::min(plane.width, picture.width[p]),
                   height = std::min(plane.height, picture.height[p]);
    for (uint32_t y = 0; y < height; ++y) {
      auto* row = static_cast<uint8_t*>(picture.data[p]) + static_cast<ptrdiff_t>(y) * picture.stride[p];
      if (format.bits > 8) {
        std::memcpy(row, plane.row(y), width * 2ul);
      } else {
        for (uint32_t x = 0; x < width; ++x) row[x] = static_cast<uint8_t>(plane.row(y)[x]);
      }
    }
  }
  return picture;
}

Vmaf::Vmaf() : state_(std::make_unique<State>()) {}
Vmaf::~Vmaf() = default;

std::unique_ptr<Vmaf> Vmaf::open(const Format& format, unsigned threads, std::string& why) {
  std::unique_ptr<Vmaf> vmaf(new Vmaf);
  State& s = *vmaf->state_;
  s.format = format;
  if (format.planes() == 1) {
    why = "VMAF is not for grey video";
    return nullptr;
  }
  if (!s.open(why)) return nullptr;
  ModelConfiguration model;
  model.name = "cairn";
  Configuration configuration;
  configuration.threads = threads;
  if (s.init(&s.context, configuration) != 0 || s.load_model(&s.model, &model, kModel) != 0 ||
      s.use_model(s.context, s.model) != 0) {
    why = fmt::format("libvmaf has no model {}", kModel);
    return nullptr;
  }
  return vmaf;
}

void Vmaf::add(const Frame& original, const Frame& other) {
  State& s = *state_;
  Picture reference = s.copy(original), distorted = s.copy(other);
  const int status = s.read(s.context, &reference, &distorted, s.frames);
  if (status != 0) fail(ErrorCode::unsupported, "libvmaf fails at frame {} ({})", s.frames, status);
  ++s.frames;
}

double Vmaf::score() {
  State& s = *state_;
  double score = 0;
  int status = s.frames == 0 ? -1 : s.read(s.context, nullptr, nullptr, 0);
  if (status == 0) status = s.pooled(s.context, s.model, kMean, &score, 0, s.frames - 1);
  if (status != 0) fail(ErrorCode::unsupported, "libvmaf gives no score ({})", status);
  return score;
}

}  // namespace cairn::video
