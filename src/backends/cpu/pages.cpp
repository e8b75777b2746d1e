#include "backends/cpu/pages.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <initializer_list>

#include "base/error.hpp"

namespace cairn::cpu {
namespace {

// Addresses that are asked for at once.
constexpr size_t kSlabBytes = size_t{4} << 20;

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
    attends_.push_back(false);
    size_t head_size = p.head_size, kv_heads = p.kv_heads;
    bool latent = false;
    for (const graph::OpList& ops : layer) {
      for (const graph::Op& op : ops) {
        if (op.kind != graph::OpKind::attention || op.shared != 0) continue;
        windows_.back() = op.window;
        attends_.back() = true;
        latent = op.latent;
        if (op.head_size != 0) head_size = op.head_size;
        if (op.kv_heads != 0) kv_heads = op.kv_heads;
      }
    }
    add(head_size, kv_heads, latent, attends_.back());
  }
  if (!model.draft.empty()) {
    draft_ = layers();
    windows_.push_back(0);
    attends_.push_back(true);
    add(p.head_size, p.kv_heads, false, true);
  }
  if (bytes_ == 0) add(p.head_size, p.kv_heads, false, true);  // a page has bytes, even if no layer has pages
}

void PageLayout::add(size_t head_size, size_t kv_heads, bool latent, bool attends) {
  const size_t rows = product({kv_heads, kernels::kPagePositions}), kinds = latent ? 1 : 2;
  Heads heads{kernels::kv_row_bytes(key_format(), head_size),
              latent ? 0 : kernels::kv_row_bytes(format_, head_size),
              kernels::kv_scale_bytes(format_, head_size), 0, latent};
  heads.scales = round_up(product({rows, heads.key_bytes + heads.value_bytes}), 64);
  heads_.push_back(heads);
  if (attends)
    bytes_ = std::max(bytes_, round_up(heads.scales + product({kinds, rows, heads.scale_bytes}), 64));
}

PagePool::PagePool(size_t page_bytes, size_t spare, size_t system_page)
    : page_bytes_(page_bytes),
      slab_pages_(std::max<size_t>(1, kSlabBytes / page_bytes)),
      spare_(spare / page_bytes),
      system_page_(system_page) {}

Page PagePool::take() {
  size_t number = 0;
  std::byte* page = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (staying_.empty() && free_.empty()) {
      const size_t first = slabs_.size() * slab_pages_;
      free_.reserve(first + slab_pages_);
      staying_.reserve(std::min(spare_, first + slab_pages_));
      held_.resize(first + slab_pages_);
      slabs_.emplace_back(slab_pages_ * page_bytes_);
      for (size_t i = slab_pages_; i-- > 0;) free_.push_back(first + i);
    }
    std::vector<size_t>& from = staying_.empty() ? free_ : staying_;
    number = from.back();
    from.pop_back();
    held_[number] = true;
    page = slabs_[number / slab_pages_].as<std::byte>() + number % slab_pages_ * page_bytes_;
  }
  auto* bytes = reinterpret_cast<volatile char*>(page);
  for (size_t at = 0; at < page_bytes_; at += system_page_) bytes[at] = 0;  // in memory from now on
  bytes[page_bytes_ - 1] = 0;
  ++used_;
  return {page, [pool = shared_from_this(), number](std::byte*) { pool->put(number); }};
}

uint64_t PagePool::spare_bytes() {
  const std::lock_guard lock(mutex_);
  return staying_.size() * page_bytes_;
}

void PagePool::put(size_t number) noexcept {
  --used_;
  const std::lock_guard lock(mutex_);
  if (staying_.size() < spare_) return staying_.push_back(number);
  held_[number] = false;
  free_.push_back(number);
  // Pages of the system that hold nothing else; taking one of ours waits for the lock.
  const size_t slab = number / slab_pages_, page = system_page_, from = number % slab_pages_ * page_bytes_;
  const auto idle = [&](size_t at) {
    const size_t last = std::min(slab_pages_ - 1, (at + page - 1) / page_bytes_);
    for (size_t i = at / page_bytes_; i <= last; ++i) {
      if (held_[slab * slab_pages_ + i]) return false;
    }
    return true;
  };
  auto [begin, end] = pages_of(from, from + page_bytes_, page, true, true);
  while (begin < end && !idle(begin)) begin += page;
  while (begin < end && !idle(end - page)) end -= page;
  // Where it is refused they stay in memory.
  if (begin < end) madvise(slabs_[slab].as<std::byte>() + begin, end - begin, MADV_DONTNEED);
}

}  // namespace cairn::cpu
