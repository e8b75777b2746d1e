#pragma once

#include <cstddef>
#include <span>

namespace cairn {

// Zeroed memory whose pages become resident when they are first touched; 64-byte aligned.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes);  // Error out_of_memory
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  size_t bytes() const noexcept { return bytes_; }
  template <class T>
  T* as() const noexcept {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

constexpr size_t round_up(size_t n, size_t step) {
  return (n + step - 1) / step * step;
}

}  // namespace cairn
