#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "quantize/scheme.hpp"

namespace cairn::quantize {
namespace {

// SplitMix64: the signs must be the same on every machine and in every release.
uint64_t next_random(uint64_t& state) {
  uint64_t z = state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

Rotation::Rotation(uint32_t width)
    : width_(width), block_(1u << std::countr_zero(width)), blocks_(width / block_), signs_(width) {
  uint64_t state = width;
  for (float& sign : signs_) sign = next_random(state) >> 63 != 0 ? -1.0f : 1.0f;
  // The orthonormal Hartley matrix: dense, symmetric, of any size.
  mixing_.resize(size_t{blocks_} * blocks_);
  for (uint32_t i = 0; i < blocks_; ++i) {
    for (uint32_t j = 0; j < blocks_; ++j) {
      const double angle = 2 * std::numbers::pi * i * j / blocks_;
      mixing_[i * blocks_ + j] = static_cast<float>((std::cos(angle) + std::sin(angle)) / std::sqrt(blocks_));
    }
  }
}

void Rotation::apply(float* x) const {
  apply_tile(x, 1);
}

void Rotation::apply_tile(float* x, size_t lanes) const {
  for (size_t i = 0; i < width_; ++i) {
    for (size_t lane = 0; lane < lanes; ++lane) x[i * lanes + lane] *= signs_[i];
  }
  const size_t run = block_ * lanes;
  for (size_t half = lanes; half < run; half *= 2) {
    for (size_t begin = 0; begin < width_ * lanes; begin += 2 * half) {
      float* a = x + begin;
      float* b = a + half;
      for (size_t i = 0; i < half; ++i) {
        const float sum = a[i] + b[i], difference = a[i] - b[i];
        a[i] = sum;
        b[i] = difference;
      }
    }
  }
  const float normal = 1 / std::sqrt(static_cast<float>(block_));
  // A stretch of features at a time, through a buffer that stays in the first-level cache.
  constexpr size_t kStretch = 64;
  std::vector<float> mixed(blocks_ * kStretch);
  for (size_t begin = 0; begin < run; begin += kStretch) {
    const size_t count = std::min(kStretch, run - begin);
    for (size_t i = 0; i < blocks_; ++i) {
      float* out = mixed.data() + i * kStretch;
      for (size_t c = 0; c < count; ++c) out[c] = 0;
      for (size_t j = 0; j < blocks_; ++j) {
        const float factor = mixing_[i * blocks_ + j] * normal;
        const float* in = x + j * run + begin;
        for (size_t c = 0; c < count; ++c) out[c] += factor * in[c];
      }
    }
    for (size_t i = 0; i < blocks_; ++i) {
      for (size_t c = 0; c < count; ++c) x[i * run + begin + c] = mixed[i * kStretch + c];
    }
  }
}

}  // namespace cairn::quantize
