#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "video/restored_reader.hpp"

namespace cairn::video {

constexpr size_t kAhead = 3;  // restored frames that wait for their time

// Restores ahead in a thread of its own.
class Ahead {
 public:
  struct Item {
    Frame frame, small;
    double due = 0;
  };

  Ahead(RestoredReader& reader, bool loop) : reader_(reader), loop_(loop), thread_([this] { run(); }) {}
  ~Ahead() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    room_.notify_all();
    thread_.join();
  }
  Ahead(const Ahead&) = delete;
  Ahead& operator=(const Ahead&) = delete;

  // The next frame, waiting for it at most so long; null when there is none yet.
  std::unique_ptr<Item> take(double seconds) {
    std::unique_lock lock(mutex_);
    filled_.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return !items_.empty() || done_; });
    if (items_.empty()) {
      if (error_) std::rethrow_exception(error_);
      return nullptr;
    }
    std::unique_ptr<Item> item = std::move(items_.front());
    items_.pop_front();
    room_.notify_one();
    return item;
  }
  void give_back(std::unique_ptr<Item> item) {
    const std::lock_guard lock(mutex_);
    spare_.push_back(std::move(item));
  }
  bool done() {
    const std::lock_guard lock(mutex_);
    return done_ && items_.empty();
  }
  // Frames that are due before this need not be restored.
  void late(double now) {
    const std::lock_guard lock(mutex_);
    now_ = now;
  }
  uint64_t dropped() {
    const std::lock_guard lock(mutex_);
    return dropped_;
  }

 private:
  std::unique_ptr<Item> next_item() {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return items_.size() < kAhead || stop_; });
    if (stop_) return nullptr;
    if (spare_.empty()) return std::make_unique<Item>();
    std::unique_ptr<Item> item = std::move(spare_.back());
    spare_.pop_back();
    return item;
  }

  void run() {
    try {
      double offset = 0, end = 0, last_due = 0;
      const double frame_time = 1 / reader_.info().frame_rate.value();
      while (std::unique_ptr<Item> item = next_item()) {
        double now;
        {
          const std::lock_guard lock(mutex_);
          now = now_;
        }
        // Further behind than a frame can be caught up with: the networks are too slow, skip what they cost.
        if (now > last_due + 2 * frame_time && reader_.skip()) {
          last_due += frame_time;
          const std::lock_guard lock(mutex_);
          ++dropped_;
          spare_.push_back(std::move(item));
          continue;
        }
        if (!reader_.read(item->frame, &item->small)) {
          if (!loop_) break;
          offset = end;
          reader_.rewind();
          if (!reader_.read(item->frame, &item->small)) break;
        }
        const double tick = reader_.info().time_base.value();
        item->due = last_due = offset + static_cast<double>(item->frame.pts) * tick;
        end = offset + static_cast<double>(item->frame.pts + item->frame.duration) * tick;
        const std::lock_guard lock(mutex_);
        items_.push_back(std::move(item));
        filled_.notify_one();
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      error_ = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    done_ = true;
    filled_.notify_all();
  }

  RestoredReader& reader_;
  const bool loop_;
  std::mutex mutex_;
  std::condition_variable room_, filled_;
  std::deque<std::unique_ptr<Item>> items_;
  std::vector<std::unique_ptr<Item>> spare_;
  bool done_ = false, stop_ = false;
  double now_ = -1;
  uint64_t dropped_ = 0;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace cairn::video
