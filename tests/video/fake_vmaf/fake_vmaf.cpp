// A libvmaf whose score is 100 less the mean luma difference of all pictures, for machines without the real
// one. Sizes and order of its structures are those of libvmaf 2, written anew.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

extern "C" {

struct Configuration {
  int log_level;
  unsigned threads, subsample;
  uint64_t cpumask;
};
struct Picture {
  int format;
  unsigned bits, width[3], height[3];
  ptrdiff_t stride[3];
  void* data[3];
  void *reference, *priv;
};
struct Context {
  double difference;
  unsigned pictures;
  bool flushed, modelled;
};

int vmaf_init(Context** context, Configuration) {
  *context = static_cast<Context*>(std::calloc(1, sizeof(Context)));
  return 0;
}
int vmaf_close(Context* context) {
  std::free(context);
  return 0;
}
int vmaf_model_load(void** model, const void*, const char* version) {
  if (std::strcmp(version, "vmaf_v0.6.1") != 0) return -22;
  *model = std::malloc(1);
  return 0;
}
void vmaf_model_destroy(void* model) {
  std::free(model);
}
int vmaf_use_features_from_model(Context* context, void*) {
  context->modelled = true;
  return 0;
}
int vmaf_picture_alloc(Picture* picture, int format, unsigned bits, unsigned width, unsigned height) {
  *picture = {};
  picture->format = format;
  picture->bits = bits;
  for (int p = 0; p < 3; ++p) {
    picture->width[p] = p > 0 && format != 3 ? width / 2 : width;
    picture->height[p] = p > 0 && format == 1 ? height / 2 : height;
    picture->stride[p] = static_cast<ptrdiff_t>((picture->width[p] + 31) / 32 * 32 * (bits > 8 ? 2 : 1));
    picture->data[p] = std::calloc(static_cast<size_t>(picture->stride[p]), picture->height[p] + 1);
  }
  return 0;
}
int vmaf_picture_unref(Picture* picture) {
  for (void* data : picture->data) std::free(data);
  return 0;
}
int vmaf_read_pictures(Context* context, Picture* a, Picture* b, unsigned index) {
  if (a == nullptr && b == nullptr) {
    context->flushed = true;
    return 0;
  }
  if (!context->modelled || context->flushed || index != context->pictures) return -22;
  double sum = 0;
  for (unsigned y = 0; y < a->height[0]; ++y) {
    for (unsigned x = 0; x < a->width[0]; ++x) {
      const auto sample = [&](const Picture& p) -> int {
        const char* row = static_cast<const char*>(p.data[0]) + static_cast<ptrdiff_t>(y) * p.stride[0];
        return p.bits > 8 ? reinterpret_cast<const uint16_t*>(row)[x]
                          : reinterpret_cast<const uint8_t*>(row)[x];
      };
      sum += std::abs(sample(*a) - sample(*b));
    }
  }
  context->difference += sum / (a->width[0] * a->height[0]);
  ++context->pictures;
  vmaf_picture_unref(a);
  vmaf_picture_unref(b);
  return 0;
}
int vmaf_score_pooled(Context* context, void*, int method, double* score, unsigned low, unsigned high) {
  if (!context->flushed || method != 3 || low != 0 || high + 1 != context->pictures) return -22;
  *score = 100 - context->difference / context->pictures;
  return 0;
}
}
