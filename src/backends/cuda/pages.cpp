#include "backends/cuda/pages.hpp"

#include <algorithm>
#include <utility>

namespace cairn::cuda {
namespace {

constexpr uint64_t kSlabBytes = 32 << 20;
constexpr uint32_t kMiddle = 1U << 31;  // slabs may lie before the first one

}  // namespace

PageLayout::PageLayout(const graph::Model& model) {
  const graph::HyperParameters& p = model.parameters;
  bool all = true;
  for (uint32_t layer = 0; layer < model.layers.size(); ++layer) {
    offsets_.push_back(bytes_);
    for (const graph::OpList& ops : model.layers[layer]) {
      for (const graph::Op& op : ops) {
        if (op.kind != graph::OpKind::attention) continue;
        all = all && op.window != 0;
        window_ = std::max(window_, op.window);
        if (op.shared != 0) {
          offsets_.back() = offsets_[layer - op.shared];
          continue;
        }
        const uint64_t head_size = op.head_size != 0 ? op.head_size : p.head_size;
        const uint64_t heads = op.kv_heads != 0 ? op.kv_heads : p.kv_heads;
        bytes_ += 2 * kCudaPage * heads * head_size * sizeof(uint16_t);
      }
    }
  }
  if (!all) window_ = 0;
  bytes_ = (bytes_ + kPageUnit - 1) / kPageUnit * kPageUnit;
}

PagePool::PagePool(std::shared_ptr<Device> device, uint64_t page_bytes)
    : device_(std::move(device)),
      page_bytes_(page_bytes),
      slab_pages_(static_cast<uint32_t>(std::max<uint64_t>(1, kSlabBytes / page_bytes))),
      slab_bytes_(slab_pages_ * page_bytes + kPageUnit) {}

Memory PagePool::allocate() const {
  if (make_room_) make_room_(slab_bytes_, false);
  while (true) {
    try {
      return {device_, slab_bytes_};
    } catch (const Error& error) {
      if (error.code() != ErrorCode::out_of_memory || !make_room_ || !make_room_(slab_bytes_, true)) throw;
    }
  }
}

void PagePool::add_slab() {
  Slab slab{.memory = allocate()};
  const auto begin = reinterpret_cast<uintptr_t>(slab.memory.data());
  if (origin_ == 0) origin_ = begin;
  // The first place that is whole units away from the origin: a slab has room for one more.
  const uint64_t before = begin < origin_ ? (origin_ - begin) / kPageUnit : 0;
  const uint64_t behind = begin < origin_ ? 0 : (begin - origin_ + kPageUnit - 1) / kPageUnit;
  if (before >= kMiddle || behind + slab_bytes_ / kPageUnit >= kMiddle)
    fail(ErrorCode::out_of_memory, "{}: addresses too far apart for pages of keys and values",
         device_->name());
  slab.first = static_cast<uint32_t>(kMiddle + behind - before);
  const std::lock_guard lock(mutex_);
  free_.reserve(free_.size() + slab_pages_);
  for (uint32_t i = slab_pages_; i-- > 0;) free_.push_back(slab.first + i * units());
  const uint32_t first = slab.first;
  slabs_.emplace(first, std::move(slab));
}

Page PagePool::take() {
  auto number = std::make_unique<uint32_t>();
  std::unique_lock lock(mutex_);
  if (free_.empty()) {
    lock.unlock();
    add_slab();  // nobody else takes pages
    lock.lock();
  }
  *number = free_.back();
  free_.pop_back();
  ++std::prev(slabs_.upper_bound(*number))->second.used;
  return {number.release(), [pool = shared_from_this()](const uint32_t* page) {
            pool->put(*page);
            delete page;
          }};
}

void PagePool::put(uint32_t number) noexcept {
  const std::lock_guard lock(mutex_);
  --std::prev(slabs_.upper_bound(number))->second.used;
  free_.push_back(number);  // there is room: all of a slab's were in it
}

std::byte* PagePool::place(uint32_t number) const {
  return reinterpret_cast<std::byte*>(origin_ + (uint64_t{number} - kMiddle) * kPageUnit);
}

std::byte* PagePool::base() const {
  return place(0);
}

void PagePool::copy(uint32_t from, uint32_t to) const {
  device_->copy(place(to), place(from), page_bytes_);
}

uint64_t PagePool::used_bytes() const {
  const std::lock_guard lock(mutex_);
  return (slabs_.size() * slab_pages_ - free_.size()) * page_bytes_;
}

uint64_t PagePool::slab_bytes() const {
  const std::lock_guard lock(mutex_);
  return slabs_.size() * slab_bytes_;
}

void PagePool::give_back_slabs() {
  const std::lock_guard lock(mutex_);
  std::erase_if(slabs_, [&](const auto& entry) {
    const Slab& slab = entry.second;
    if (slab.used != 0) return false;
    std::erase_if(free_,
                  [&](uint32_t n) { return n >= slab.first && n < slab.first + slab_pages_ * units(); });
    return true;
  });
}

}  // namespace cairn::cuda
