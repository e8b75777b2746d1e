#include <bit>
#include <cmath>
#include <numbers>

#include "base/random.hpp"
#include "kernels/kernel_set.hpp"
#include "quantize/scheme.hpp"

namespace cairn::quantize {
namespace {

constexpr size_t kMixScratch = 64;  // floats a block, as StaticKernels::mix asks

}  // namespace

Rotation::Rotation(uint32_t width)
    : vector_(&kernels::kernel_set(kernels::default_target()).vector),
      static_(&kernels::kernel_set(kernels::default_target()).exact),
      width_(width),
      block_(1u << std::countr_zero(width)),
      blocks_(width / block_),
      signs_(width) {
  SplitMix64 random(width);
  for (float& sign : signs_) sign = random.next() >> 63 != 0 ? -1.0f : 1.0f;
  // The orthonormal Hartley matrix: dense, symmetric, of any size.
  mixing_.resize(size_t{blocks_} * blocks_);
  for (uint32_t i = 0; i < blocks_; ++i) {
    for (uint32_t j = 0; j < blocks_; ++j) {
      const double angle = 2 * std::numbers::pi * i * j / blocks_;
      mixing_[i * blocks_ + j] = static_cast<float>((std::cos(angle) + std::sin(angle)) / std::sqrt(blocks_));
    }
  }
}

size_t Rotation::scratch_floats() const {
  return blocks_ == 1 ? 0 : kMixScratch * blocks_;
}

void Rotation::apply(float* x, float* scratch) const {
  for (size_t i = 0; i < width_; ++i) x[i] *= signs_[i];
  vector_->token_hadamard(x, block_, blocks_);
  if (blocks_ > 1) static_->mix(x, mixing_.data(), blocks_, block_, scratch);
}

void Rotation::apply_inverse(float* x, float* scratch) const {
  // Both factors are symmetric.
  if (blocks_ > 1) static_->mix(x, mixing_.data(), blocks_, block_, scratch);
  vector_->token_hadamard(x, block_, blocks_);
  for (size_t i = 0; i < width_; ++i) x[i] *= signs_[i];
}

void Rotation::apply_tile(float* x, size_t lanes, float* scratch) const {
  for (size_t i = 0; i < width_; ++i) {
    for (size_t lane = 0; lane < lanes; ++lane) x[i * lanes + lane] *= signs_[i];
  }
  vector_->tile_hadamard(x, block_, blocks_);
  if (blocks_ > 1) static_->mix(x, mixing_.data(), blocks_, block_ * lanes, scratch);
}

}  // namespace cairn::quantize
