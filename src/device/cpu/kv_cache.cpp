#include "device/cpu/kv_cache.hpp"

#include <initializer_list>

#include "base/error.hpp"

namespace cairn::device::cpu {
namespace {

// A file and a flag choose the factors, each within its own bounds.
size_t product(std::initializer_list<size_t> factors) {
  size_t result = 1;
  for (const size_t factor : factors) {
    if (__builtin_mul_overflow(result, factor, &result))
      fail(ErrorCode::out_of_memory, "a KV cache of more bytes than there are addresses");
  }
  return result;
}

}  // namespace

KvCache::KvCache(const graph::HyperParameters& parameters, uint32_t context, kernels::KvFormat format)
    : format_(format),
      heads_(parameters.kv_heads),
      head_size_(parameters.head_size),
      context_(context),
      matrices_(2 * parameters.layers),
      element_(format == kernels::KvFormat::f32   ? 4
               : format == kernels::KvFormat::f16 ? 2
                                                  : 1) {
  const size_t rows = product({matrices_, heads_, context_});
  rows_ = Buffer(product({rows, head_size_, element_}));
  if (format == kernels::KvFormat::i8) scales_ = Buffer(product({rows, sizeof(float)}));
}

KvCache::Place KvCache::place(uint32_t matrix, uint32_t head, uint32_t position) const {
  const size_t row = (static_cast<size_t>(matrix) * heads_ + head) * context_ + position;
  return {rows_.as<char>() + row * head_size_ * element_,
          scales_.bytes() == 0 ? nullptr : scales_.as<float>() + row};
}

uint64_t KvCache::bytes_used(uint32_t length) const {
  const uint64_t rows = static_cast<uint64_t>(matrices_) * heads_ * length;
  return rows * (head_size_ * element_ + (scales_.bytes() == 0 ? 0 : sizeof(float)));
}

}  // namespace cairn::device::cpu
