#include "backends/cuda/elastic.hpp"

#include <algorithm>
#include <utility>

#include "base/byte_size.hpp"

namespace cairn::cuda {
namespace {

constexpr std::chrono::milliseconds kLook{50};
// Of an automatic budget: what stays free, so that others' allocations succeed until it has given way; and
// how much more has to be free before it grows again.
constexpr uint64_t kMargin = 256 << 20, kSlack = 64 << 20;

}  // namespace

Elastic::Elastic(std::string path, std::shared_ptr<Device> device, Planes* planes, PagePool& pages,
                 uint64_t fixed, const engine::Options& options, std::mutex& one_step)
    : path_(std::move(path)),
      device_(std::move(device)),
      planes_(planes),
      pages_(pages),
      fixed_(fixed),
      one_step_(one_step),
      budget_(options.device_memory),
      automatic_(options.device_memory_auto) {
  if (planes_ != nullptr) watcher_ = std::thread([this] { watch(); });
}

Elastic::~Elastic() {
  if (!watcher_.joinable()) return;
  {
    const std::lock_guard lock(leaving_mutex_);
    leaving_ = true;
  }
  leaving_changed_.notify_all();
  watcher_.join();
}

void Elastic::watch() {
  std::unique_lock lock(leaving_mutex_);
  while (!leaving_changed_.wait_for(lock, kLook, [&] { return leaving_; })) {
    const std::unique_lock step(one_step_, std::try_to_lock);
    if (!step.owns_lock() || !automatic_) continue;
    try {
      adjust();
    } catch (const Error&) {
      return;  // the next step will say so
    }
  }
}

uint64_t Elastic::others() const {
  return fixed_ + pages_.slab_bytes() + device_->own_bytes() +
         (planes_ != nullptr ? planes_->fixed_bytes() : 0);
}

uint64_t Elastic::room() {
  if (automatic_) {
    const uint64_t free = device_->free_memory(), have = planes_->bytes();
    if (free < kMargin) return have - std::min(have, kMargin - free);
    return free < kMargin + kSlack ? have : have + (free - kMargin);
  }
  if (budget_ == 0) return UINT64_MAX;
  return budget_ - std::min(budget_, others());
}

void Elastic::adjust() {
  if (planes_ == nullptr) return;
  const auto now = std::chrono::steady_clock::now();
  if (automatic_ && now - looked_ < kLook) return;
  looked_ = now;
  uint64_t limit = std::min(room(), ceiling_);
  if (limit < planes_->bytes()) {
    pages_.give_back_slabs();  // which nobody uses
    limit = std::min(room(), ceiling_);
  }
  planes_->set_limit(limit);
  if (planes_->shrink()) {
    ++gave_way_;
  } else {
    planes_->grow();
  }
}

void Elastic::fill() {
  if (planes_ == nullptr) return;
  do {
    planes_->set_limit(std::min(room(), ceiling_));
  } while (planes_->grow());
}

bool Elastic::make_room(uint64_t bytes, bool failed) {
  if (failed) {
    // What is given up is not read again at once: others have the memory.
    if (planes_ == nullptr || planes_->bytes() <= planes_->base_bytes()) return false;
    ceiling_ = planes_->bytes() - std::min(planes_->bytes(), bytes);
    planes_->set_limit(ceiling_);
    if (!planes_->shrink()) return false;
    ++gave_way_;
    return true;
  }
  if (budget_ == 0) return true;
  if (least() + bytes > budget_) {
    fail(ErrorCode::out_of_memory, "{}: the GPU memory of {} has no room for {} more of keys and values",
         path_, mebibytes(budget_), mebibytes(bytes));
  }
  if (planes_ != nullptr) {
    planes_->set_limit(room() - std::min(room(), bytes));
    if (planes_->shrink()) {
      ++gave_way_;
      planes_->grow();  // what a slab less has left room for
    }
  }
  return true;
}

void Elastic::set_memory(uint64_t bytes) {
  const std::lock_guard lock(one_step_);
  if (bytes != 0 && bytes < least()) pages_.give_back_slabs();
  if (bytes != 0 && bytes < least()) {
    fail(ErrorCode::out_of_memory,
         "{}: {} of GPU memory are too little: the stack's base and all beside it need {}", path_,
         mebibytes(bytes), mebibytes(least()));
  }
  budget_ = bytes;
  automatic_ = false;
  ceiling_ = UINT64_MAX;
  adjust();
}

void Elastic::set_automatic() {
  const std::lock_guard lock(one_step_);
  budget_ = 0;
  automatic_ = true;
  ceiling_ = UINT64_MAX;
  looked_ = {};
  adjust();
}

engine::MemoryStatus Elastic::status() const {
  const std::lock_guard lock(one_step_);
  engine::MemoryStatus status;
  status.budget = budget_;
  status.automatic = automatic_;
  status.stack = planes_->bytes();
  status.stack_all = planes_->all_bytes();
  status.process = status.device = others() + planes_->bytes();
  status.read = planes_->bytes_read();
  status.bits = planes_->bits();
  status.problems = planes_->problems();
  status.least = least();
  status.gave_way = gave_way_;
  return status;
}

}  // namespace cairn::cuda
