#pragma once

#include <cstdint>
#include <functional>
#include <mutex>

#include "resident/account.hpp"

namespace cairn::offload {

// The copy of a stack that a device has compiled in, as the process's account sees it: it is given back, once
// and for all, before the stack's blocks in memory become fewer than those that it was made of.
class DeviceCopy final : public resident::Spare {
 public:
  // worth_blocks: bytes of those. drop: frees what the device holds; called once at most, by any thread, and
  // never within begin_use() and end_use().
  DeviceCopy(uint64_t worth_blocks, std::function<void()> drop);
  ~DeviceCopy() override;
  DeviceCopy(const DeviceCopy&) = delete;
  DeviceCopy& operator=(const DeviceCopy&) = delete;

  // The device holds so many bytes now, so many of them outside of this process.
  void hold(uint64_t bytes, uint64_t outside);
  // Between the two, asked() says whether it is to be given back; end_use() does.
  void begin_use();
  void end_use();
  bool asked() const;  // or gone
  // Whoever uses it has freed what the device held: it is gone.
  void leave();
  uint64_t bytes() const;       // that the device holds
  uint64_t given_back() const;  // what bytes() was when it was asked for

  bool give_back() override;
  uint64_t worth_blocks() const override { return worth_blocks_; }
  uint64_t spare_bytes() const override { return bytes(); }
  uint64_t leaving() const override;
  uint64_t outside() const override;

 private:
  void drop();  // with mutex_ held

  const uint64_t worth_blocks_;
  const std::function<void()> drop_;
  mutable std::mutex mutex_;  // of what follows
  bool in_use_ = false, asked_ = false, gone_ = false;
  uint64_t bytes_ = 0, outside_ = 0, given_back_ = 0;
};

// For as long as a step uses the copy, or what takes its place.
class CopyUse {
 public:
  explicit CopyUse(DeviceCopy* copy) : copy_(copy) {
    if (copy_ != nullptr) copy_->begin_use();
  }
  ~CopyUse() {
    if (copy_ != nullptr) copy_->end_use();
  }
  CopyUse(const CopyUse&) = delete;
  CopyUse& operator=(const CopyUse&) = delete;

 private:
  DeviceCopy* copy_;
};

}  // namespace cairn::offload
