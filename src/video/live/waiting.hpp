#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>

namespace cairn::video {

// A queue with an end that any side can call.
template <class T>
class Waiting {
 public:
  explicit Waiting(size_t most) : most_(most) {}
  // False: nobody takes it any more.
  bool push(T item) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return items_.size() < most_ || closed_; });
    if (closed_) return false;
    items_.push_back(std::move(item));
    changed_.notify_all();
    return true;
  }
  bool pop(T& item) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !items_.empty() || closed_; });
    if (items_.empty()) return false;
    item = std::move(items_.front());
    items_.pop_front();
    changed_.notify_all();
    return true;
  }
  // What is there can still be taken, unless `drop`.
  void close(bool drop = false) {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    if (drop) items_.clear();
    changed_.notify_all();
  }

 private:
  const size_t most_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<T> items_;
  bool closed_ = false;
};

}  // namespace cairn::video
