#include "backends/cpu/pages.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <initializer_list>

#include "base/error.hpp"

namespace cairn::cpu {
namespace {

// Addresses that are asked for at once.
constexpr size_t kSlabBytes = size_t{4} << 20;

size_t system_page() {
  static const auto bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

// A file chooses the factors, each within bounds of its own.
size_t product(std::initializer_list<size_t> factors) {
  size_t result = 1;
  for (const size_t factor : factors) {
    if (__builtin_mul_overflow(result, factor, &result) || result > SIZE_MAX / 4)
      fail(ErrorCode::out_of_memory, "a page of keys and values has more bytes than there are addresses");
  }
  return result;
}

}  // namespace

PageLayout::PageLayout(const graph::Model& model, kernels::KvFormat format) : format_(format) {
  const graph::HyperParameters& p = model.parameters;
  for (const graph::Layer& layer : model.layers) {
    windows_.push_back(0);
    for (const graph::OpList& ops : layer) {
      for (const graph::Op& op : ops) {
        if (op.kind == graph::OpKind::attention) windows_.back() = op.window;
      }
    }
  }
  const size_t rows = product({2, p.kv_heads, kernels::kPagePositions});
  const bool scaled = format == kernels::KvFormat::i8;
  row_bytes_ = p.head_size * size_t{format == kernels::KvFormat::f32 ? 4U : scaled ? 1U : 2U};
  scales_ = round_up(product({rows, row_bytes_}), 64);
  bytes_ = round_up(scales_ + (scaled ? product({rows, sizeof(float)}) : 0), system_page());
}

Page PagePool::take() {
  std::byte* page = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) {
      const size_t pages = std::max<size_t>(1, kSlabBytes / page_bytes_);
      free_.reserve((slabs_.size() + 1) * pages);
      slabs_.emplace_back(pages * page_bytes_);
      for (size_t i = pages; i-- > 0;) free_.push_back(slabs_.back().as<std::byte>() + i * page_bytes_);
    }
    page = free_.back();
    free_.pop_back();
  }
  for (size_t at = 0; at < page_bytes_; at += system_page())
    reinterpret_cast<volatile char*>(page)[at] = 0;  // in memory from now on
  ++used_;
  return {page, [pool = shared_from_this()](std::byte* p) { pool->put(p); }};
}

void PagePool::put(std::byte* page) noexcept {
  madvise(page, page_bytes_,
          MADV_DONTNEED);  // where it is refused the page stays in memory, and is zeros no more
  --used_;
  const std::lock_guard lock(mutex_);
  free_.push_back(page);
}

}  // namespace cairn::cpu
