#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "video/network.hpp"

namespace cairn::video {

// Where a layer's weights are: offsets in Parameters::values() and in effective vectors.
struct WeightPart {
  uint32_t in, out, kernel;
  uint32_t rows, wide;         // rows = in · kernel²; wide = 0: no A·B
  size_t weights, a, b, bias;  // in values(): [rows][out], [rows][wide], [wide][out], [out]
  size_t effective;
  bool identity;
  float gain;  // the sum's factor: how much the weights (and biases) move when the values do
};
// The layers' parts, then the 5×5 filter's.
struct WeightLayout {
  std::vector<WeightPart> parts;
  size_t values = 0, effective = 0;  // sizes
};
WeightLayout weight_layout(const Network& network, bool wide);

// What a pass through a network needs of its weights.
struct PassWeights {
  std::span<const WeightPart> parts;
  std::span<const float> effective;
  float levels = 0;               // of activations; 0: they are not rounded
  std::span<const float> limits;  // [layer], when they are
};

// What is trained: each layer's weights as a sum, W = W₀ + identity (where channels and size allow) + A·B, A
// a convolution four times as wide and B one of 1×1. The sum is one convolution, so the passes see only W;
// the parts make descent faster (RepVGG, ECBSR, SESR: arXiv 2101.03697, 2103.09404). What the network puts
// out (the tail's sum, the 5×5 filter) is multiplied by a gain in proportion to what there is to learn: Adam
// moves every value by about its rate whatever the gradient, and steps of that size drown corrections of a
// fiftieth of them, as a good codec leaves.
//
// `effective` vectors hold, layer by layer, weights as the kernels want them, [in][kernel][kernel][out], then
// the bias [out]; after the layers the 5×5 filter, [25][scale²].
class Parameters {
 public:
  // `wide`: A·B is there. residual: the root mean square of what the bicubic lacks, samples / peak.
  // Deterministic for a seed.
  Parameters(const Network& network, bool wide, double residual, uint64_t seed);

  std::span<float> values() { return values_; }
  std::span<const float> values() const { return values_; }
  const WeightLayout& layout() const { return layout_; }
  size_t effective_size() const { return layout_.effective; }

  // What rounding needs to know; kept with the values when a training is interrupted.
  struct Rounding {
    uint32_t bits = 0;
    std::vector<float> limits;               // [layer]
    std::vector<std::vector<float>> scales;  // [part][out]
    std::vector<float> bias_units;           // [layer]
  };
  const Rounding& rounding() const { return rounding_; }
  void resume(Rounding rounding) { rounding_ = std::move(rounding); }

  // The values with which the effective weights are those of `network` (of the same shape).
  void start_from(const Network& network);
  // Once quantised, weights and biases lie on the grids of `network` (quantised, of the same shape) and keep
  // its codes until they are (0.5 + reluctance) steps away: what differs is little, and cheap to code.
  void stay_near(const Network& network, float reluctance);

  // From here on weights are rounded to `bits` (4 … 8): symmetric, one scale an output channel, chosen now
  // (steps.hpp); and activations to the network's levels, limits[layer] being the largest. squares: the
  // gradient's mean squares by values(), as Adam keeps them.
  void quantise(uint32_t bits, std::span<const float> limits, std::span<const float> squares);
  uint32_t bits() const { return rounding_.bits; }
  std::span<const float> limits() const { return rounding_.limits; }
  // 0: activations stay as they are, as they do in networks that run in floats.
  float levels() const {
    if (rounding_.bits == 0 || shape_.on_upscaled) return 0.0f;
    return rounding_.bits == 8 ? 127.0f : 255.0f;
  }

  void effective(std::span<float> out) const;
  // The gradient by values() from that by the effective weights; rounding counts as the identity.
  void gradient(std::span<const float> effective, std::span<float> out) const;

  // The network with these weights (quantised when quantise() was called: then scales and biases are
  // binary16).
  Network network() const;

  // effective: that of effective().
  PassWeights pass_weights(std::span<const float> effective) const {
    return {layout_.parts, effective, levels(), rounding_.limits};
  }

 private:
  using Part = WeightPart;
  void sum(const Part& part, float* out) const;
  float bias(size_t layer, size_t o) const;  // rounded when quantised
  float rounded(float value, float scale, int limit, const std::vector<float>& anchors, size_t i) const;

  Network shape_;
  WeightLayout layout_;
  std::vector<float> values_;
  Rounding rounding_;
  // stay_near()'s network: empty when there is none.
  std::vector<std::vector<float>> anchors_, anchor_scales_, anchor_biases_;  // [part]
  std::vector<float> anchor_limits_, anchor_units_;                          // [layer]
  float reluctance_ = 0;
};

// The effective weights of a network that is finished, and its activations' ranges.
struct NetworkWeights {
  explicit NetworkWeights(const Network& network);
  // rounded: with activations as integer execution rounds them.
  PassWeights pass_weights(bool rounded) const;

  WeightLayout layout;
  std::vector<float> effective, limits;
  float levels = 0;
};

}  // namespace cairn::video
