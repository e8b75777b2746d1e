// A GPU through libcairn_cuda.so's table, and numbers to compare with.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/cuda_plugin.hpp"
#include "formats/encoding.hpp"
#include "formats/random_blocks.hpp"
#include "kernels/kernel_set.hpp"

namespace cairn::test {

inline const CudaPlugin& plugin() {
  static const CudaPlugin& it = open_plugin<CudaPlugin>(
      std::getenv("CAIRN_CUDA_LIBRARY") != nullptr ? std::getenv("CAIRN_CUDA_LIBRARY")
                                                   : own_library(CudaPlugin::kLibrary, "tests need it"));
  return it;
}

inline void* device() {
  static void* it = [] {
    void* opened = nullptr;
    call_plugin(plugin().open, 0, &opened);
    return opened;
  }();
  return it;
}

// Memory of the GPU's; what is not written is NaN.
class Memory {
 public:
  explicit Memory(size_t bytes) : bytes_(bytes) {
    call_plugin(plugin().allocate, device(), std::max<size_t>(bytes, 256), &at_);
    const std::vector<std::byte> poison(bytes, std::byte{0xFF});
    call_plugin(plugin().upload, device(), at_, poison.data(), bytes);
  }
  template <class T>
  explicit Memory(const std::vector<T>& values) : Memory(values.size() * sizeof(T)) {
    call_plugin(plugin().upload, device(), at_, values.data(), bytes_);
  }
  Memory(Memory&& other) noexcept : at_(std::exchange(other.at_, nullptr)), bytes_(other.bytes_) {}
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() {
    char message[256];
    if (at_ != nullptr) plugin().release(device(), at_, message, sizeof(message));
  }
  template <class T = float>
  T* as() const {
    return static_cast<T*>(at_);
  }
  template <class T = float>
  std::vector<T> read() const {
    std::vector<T> values(bytes_ / sizeof(T));
    call_plugin(plugin().download, device(), static_cast<void*>(values.data()), at_, bytes_);
    return values;
  }

 private:
  void* at_ = nullptr;
  size_t bytes_;
};

inline void run(const std::vector<CudaCommand>& commands, const CudaStep& step = {}, uint64_t key = 0) {
  call_plugin(plugin().run, device(), &step, commands.data(), commands.size(), key);
  call_plugin(plugin().wait, device());
}

inline std::vector<float> normal(size_t count, uint64_t seed, float deviation = 1) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> draw(0, deviation);
  std::vector<float> values(count);
  for (float& v : values) v = draw(random);
  return values;
}

// ‖a − b‖ / ‖b‖; NaN never passes.
inline double distance(const std::vector<float>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double error = 0, all = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    error += (a[i] - b[i]) * (a[i] - b[i]);
    all += b[i] * b[i];
  }
  return std::sqrt(error / all);
}

// A matrix as a file has it, its numbers, and where it is on the GPU.
struct Matrix {
  Encoding encoding;
  uint32_t rows, k;
  std::vector<std::byte> file;
  std::vector<float> values;
  Memory memory;
};

inline Matrix random_matrix(Encoding encoding, uint32_t rows, uint32_t k, uint64_t seed) {
  const EncodingInfo& about = info(encoding);
  std::vector<std::byte> file(size_t{rows} * k / about.block_elements * about.block_bytes);
  RandomBlocks(seed).fill(encoding, file);
  std::vector<float> values(size_t{rows} * k);
  kernels::kernel_set(kernels::Target::portable)
      .encoding(encoding)
      .dequantize(file.data(), values.size(), values.data());
  uint64_t bytes = 0;
  call_plugin(plugin().matrix_bytes, static_cast<uint32_t>(encoding), uint64_t{rows}, uint64_t{k}, &bytes);
  Matrix matrix{encoding, rows, k, file, values, Memory(bytes)};
  call_plugin(plugin().upload_matrix, device(), static_cast<uint32_t>(encoding), uint64_t{rows}, uint64_t{k},
              static_cast<const void*>(file.data()), static_cast<void*>(matrix.memory.as<std::byte>()));
  return matrix;
}

// As int8 with a scale for each `each` has it.
inline std::vector<float> rounded(std::span<const float> x, size_t each) {
  std::vector<float> out(x.size());
  for (size_t begin = 0; begin < x.size(); begin += each) {
    const size_t end = std::min(x.size(), begin + each);
    float most = 0;
    for (size_t i = begin; i < end; ++i) most = std::max(most, std::abs(x[i]));
    const float factor = most > 0 ? 127 / most : 0;
    for (size_t i = begin; i < end; ++i) out[i] = std::rint(x[i] * factor) * (most / 127);
  }
  return out;
}

}  // namespace cairn::test
