#include "backends/cuda/sequence.hpp"

#include <utility>

namespace cairn::cuda {
namespace {

size_t pages_for(uint64_t positions) {
  return static_cast<size_t>((positions + kCudaPage - 1) / kCudaPage);
}

}  // namespace

DeviceSequence::DeviceSequence(std::shared_ptr<const PageLayout> layout, std::shared_ptr<PagePool> pool)
    : layout_(std::move(layout)), pool_(std::move(pool)) {}

void DeviceSequence::trim() {
  if (const size_t pages = pages_for(length_); pages_.size() > pages) pages_.resize(pages);
}

uint32_t DeviceSequence::truncate(uint32_t length) {
  if (length > length_)
    fail(ErrorCode::invalid_argument, "a sequence of {} tokens has no first {}", length_, length);
  const uint32_t window = layout_->window();
  const uint32_t first = window != 0 && length + 1 > window ? length + 1 - window : 0;
  if (first < gone_ * kCudaPage) length = 0;
  if (length == 0) gone_ = 0;
  length_ = length;
  trim();
  return length_;
}

std::unique_ptr<engine::Sequence> DeviceSequence::fork() const {
  std::unique_ptr<DeviceSequence> other(new DeviceSequence(*this));
  other->trim();
  return other;
}

void DeviceSequence::extend(uint32_t tokens) {
  const size_t at = length_ / kCudaPage, pages = pages_for(uint64_t{length_} + tokens);
  if (at < pages_.size() && pages_[at].use_count() > 1) {
    Page own = pool_->take();
    pool_->copy(*pages_[at], *own);
    pages_[at] = std::move(own);
  }
  while (pages_.size() < pages) pages_.push_back(pool_->take());
}

void DeviceSequence::commit(uint32_t tokens) {
  length_ += tokens;
  const uint32_t window = layout_->window();
  if (window == 0 || length_ <= window + kRollBack) return;
  for (const uint32_t end = (length_ - window - kRollBack) / kCudaPage; gone_ < end; ++gone_)
    pages_[gone_].reset();
}

void DeviceSequence::table(uint32_t end, std::vector<uint32_t>& to) const {
  const size_t pages = pages_for(end);
  for (size_t i = 0; i < pages; ++i) to.push_back(pages_[i] ? *pages_[i] : *pages_[pages - 1]);
}

}  // namespace cairn::cuda
