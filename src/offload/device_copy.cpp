#include "offload/device_copy.hpp"

#include <utility>

namespace cairn::offload {

DeviceCopy::DeviceCopy(uint64_t worth_blocks, std::function<void()> drop)
    : worth_blocks_(worth_blocks), drop_(std::move(drop)) {
  resident::Account::process().join(*this);
}

DeviceCopy::~DeviceCopy() {
  resident::Account::process().leave(*this);
}

void DeviceCopy::hold(uint64_t bytes, uint64_t outside) {
  const std::lock_guard lock(mutex_);
  if (gone_) return;
  bytes_ = bytes;
  outside_ = outside;
}

void DeviceCopy::begin_use() {
  const std::lock_guard lock(mutex_);
  in_use_ = true;
}

void DeviceCopy::end_use() {
  const std::lock_guard lock(mutex_);
  in_use_ = false;
  if (asked_ && !gone_) drop();
}

void DeviceCopy::drop() {
  drop_();
  gone_ = true;
  bytes_ = outside_ = 0;
}

void DeviceCopy::leave() {
  const std::lock_guard lock(mutex_);
  gone_ = true;
  bytes_ = outside_ = 0;
}

bool DeviceCopy::give_back() {
  const std::lock_guard lock(mutex_);
  if (asked_ || gone_ || bytes_ == 0) return false;
  asked_ = true;
  given_back_ = bytes_;
  if (!in_use_) drop();
  return true;
}

bool DeviceCopy::asked() const {
  const std::lock_guard lock(mutex_);
  return asked_ || gone_;
}

uint64_t DeviceCopy::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

uint64_t DeviceCopy::given_back() const {
  const std::lock_guard lock(mutex_);
  return given_back_;
}

uint64_t DeviceCopy::leaving() const {
  const std::lock_guard lock(mutex_);
  return asked_ ? bytes_ : 0;
}

uint64_t DeviceCopy::outside() const {
  const std::lock_guard lock(mutex_);
  return outside_;
}

}  // namespace cairn::offload
