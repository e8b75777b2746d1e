#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "video/network.hpp"

namespace cairn::video {

// What is trained: each layer's weights as a sum, W = W₀ + identity (where channels and size allow) + A·B, A
// a convolution four times as wide and B one of 1×1. The sum is one convolution, so the passes see only W;
// the parts make descent faster (RepVGG, ECBSR, SESR: arXiv 2101.03697, 2103.09404).
//
// `effective` vectors hold, layer by layer, weights as the kernels want them, [in][kernel][kernel][out], then
// the bias [out]; after the layers the 5×5 filter, [25][scale²].
class Parameters {
 public:
  // `wide`: A·B is there. Deterministic for a seed.
  Parameters(const Network& network, bool wide, uint64_t seed);

  std::span<float> values() { return values_; }
  std::span<const float> values() const { return values_; }
  size_t effective_size() const { return effective_size_; }

  // From here on weights are rounded to `bits` (4 … 8): symmetric, one scale an output channel, chosen now
  // for the least squared error; and activations to the network's levels, limits[layer] being the largest.
  void quantise(uint32_t bits, std::span<const float> limits);
  uint32_t bits() const { return bits_; }
  std::span<const float> limits() const { return limits_; }
  float levels() const { return bits_ == 0 ? 0.0f : bits_ == 8 ? 127.0f : 255.0f; }

  void effective(std::span<float> out) const;
  // The gradient by values() from that by the effective weights; rounding counts as the identity.
  void gradient(std::span<const float> effective, std::span<float> out) const;

  // The network with these weights (quantised when quantise() was called: then scales and biases are
  // binary16).
  Network network() const;

  struct Part {
    uint32_t rows, out, wide;    // rows = in · kernel²; wide = 0: no A·B
    size_t weights, a, b, bias;  // offsets in values(): [rows][out], [rows][wide], [wide][out], [out]
    size_t effective;            // offset in effective vectors
    bool identity;
    uint32_t kernel, in;
  };
  const std::vector<Part>& parts() const { return parts_; }

 private:
  void sum(const Part& part, float* out) const;
  float bias(size_t layer, size_t o) const;  // rounded when quantised
  void choose_scales(const Part& part, uint32_t bits, std::vector<float>& scales) const;

  Network shape_;
  std::vector<Part> parts_;  // the layers', then the 5×5 filter's
  std::vector<float> values_;
  size_t effective_size_ = 0;
  uint32_t bits_ = 0;
  std::vector<float> limits_;
  std::vector<std::vector<float>> scales_;  // [part][out]
  std::vector<float> bias_units_;           // [layer]
};

}  // namespace cairn::video
