// Loaded before libavcodec: one that was built without SVT-AV1.
#include <dlfcn.h>

#include <cstring>

struct AVCodec;

extern "C" const AVCodec* avcodec_find_encoder_by_name(const char* name) {
  using Find = const AVCodec* (*)(const char*);
  static const auto find = reinterpret_cast<Find>(dlsym(RTLD_NEXT, "avcodec_find_encoder_by_name"));
  return std::strcmp(name, "libsvtav1") == 0 || find == nullptr ? nullptr : find(name);
}
