#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace cairn {

// The indices [begin, end) of a loop that nobody has taken yet, in one word. Taking one is what makes it safe
// to look at the loop: until that index is done the loop cannot end.
class IndexRange {
 public:
  void set(size_t begin, size_t end) {
    word_.store(static_cast<uint64_t>(end) << 32 | begin, std::memory_order_release);
  }
  bool take_first(size_t& index) {
    return take(1, [&](uint64_t word) { index = static_cast<uint32_t>(word); });
  }
  bool take_last(size_t& index) {
    return take(-(uint64_t{1} << 32), [&](uint64_t word) { index = (word >> 32) - 1; });
  }

 private:
  template <class Found>
  bool take(uint64_t change, const Found& found) {
    uint64_t word = word_.load(std::memory_order_relaxed);
    while (static_cast<uint32_t>(word) < word >> 32) {
      if (word_.compare_exchange_weak(word, word + change, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        found(word);
        return true;
      }
    }
    return false;
  }

  std::atomic<uint64_t> word_{0};
};

}  // namespace cairn
