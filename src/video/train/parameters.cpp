#include "video/train/parameters.hpp"

#include <algorithm>
#include <cmath>
#include <random>

#include "video/quantise.hpp"
#include "video/train/steps.hpp"

namespace cairn::video {
namespace {

constexpr uint32_t kWiden = 4;
constexpr uint32_t kSkipBits = 8;
// Gains of the last layer and of the 5×5 filter, in units of the residual, and the last layer's first
// weights: the best of a few on x1 and x2.
constexpr double kTailGain = 10, kMostTailGain = 0.25;
constexpr double kSkipGain = 4, kMostSkipGain = 0.1;
constexpr double kLeastGain = 1e-3;
constexpr float kTailStart = 0.3f;

// Normal numbers by Box and Muller from the generator's bits: the same on every machine and library.
class Normal {
 public:
  explicit Normal(uint64_t seed) : random_(seed) {}
  float operator()(float deviation) {
    const double u = (static_cast<double>(random_() >> 11) + 0.5) * 0x1p-53,
                 v = static_cast<double>(random_() >> 11) * 0x1p-53;
    return static_cast<float>(deviation * std::sqrt(-2 * std::log(u)) * std::cos(2 * M_PI * v));
  }

 private:
  std::mt19937_64 random_;
};

int limit_of(uint32_t bits) {
  return (1 << (bits - 1)) - 1;
}

}  // namespace

WeightLayout weight_layout(const Network& network, bool wide) {
  WeightLayout layout;
  const auto add = [](size_t& size, size_t count) {
    const size_t offset = size;
    size += count;
    return offset;
  };
  for (const Layer& layer : network.layers) {
    WeightPart part{};
    part.in = layer.in;
    part.kernel = layer.kernel;
    part.rows = layer.in * layer.kernel * layer.kernel;
    part.out = layer.out;
    part.wide = wide ? kWiden * std::max(layer.out, layer.in) : 0;
    part.identity = layer.in == layer.out && layer.relu;
    part.gain = 1;
    part.weights = add(layout.values, static_cast<size_t>(part.rows) * part.out);
    part.a = add(layout.values, static_cast<size_t>(part.rows) * part.wide);
    part.b = add(layout.values, static_cast<size_t>(part.wide) * part.out);
    part.bias = add(layout.values, part.out);
    part.effective = add(layout.effective, static_cast<size_t>(part.rows + 1) * part.out);
    layout.parts.push_back(part);
  }
  WeightPart skip{};
  skip.in = 1;
  skip.kernel = kSkipSide;
  skip.rows = kSkipTaps;
  skip.out = network.scale * network.scale;
  skip.gain = 1;
  skip.weights = add(layout.values, static_cast<size_t>(skip.rows) * skip.out);
  skip.a = skip.b = skip.bias = layout.values;  // it has none
  skip.effective = add(layout.effective, static_cast<size_t>(skip.rows) * skip.out);
  layout.parts.push_back(skip);
  return layout;
}

Parameters::Parameters(const Network& network, bool wide, double residual, uint64_t seed)
    : shape_(network), layout_(weight_layout(network, wide)) {
  const auto gain = [&](double units, double most) {
    return static_cast<float>(std::clamp(units * residual, kLeastGain, most));
  };
  if (!network.layers.empty()) layout_.parts[network.layers.size() - 1].gain = gain(kTailGain, kMostTailGain);
  layout_.parts.back().gain = gain(kSkipGain, kMostSkipGain);
  Normal normal(seed);
  values_.assign(layout_.values, 0.0f);
  for (size_t i = 0; i + 1 < layout_.parts.size(); ++i) {
    const Part& part = layout_.parts[i];
    const bool tail = i + 2 == layout_.parts.size();
    // He et al. for ReLU, shared among the parts of the sum; the tail starts at little.
    const float he = std::sqrt(2.0f / static_cast<float>(part.rows)) * (tail            ? kTailStart
                                                                        : part.identity ? 0.5f
                                                                                        : 1.0f);
    const float share = part.wide == 0 ? 1.0f : 0.7f;
    for (size_t w = 0; w < static_cast<size_t>(part.rows) * part.out; ++w)
      values_[part.weights + w] = normal(he * share);
    if (part.wide == 0) continue;
    const float a = std::sqrt(1.0f / static_cast<float>(part.rows)),
                b = he * share / a / std::sqrt(static_cast<float>(part.wide));
    for (size_t w = 0; w < static_cast<size_t>(part.rows) * part.wide; ++w) values_[part.a + w] = normal(a);
    for (size_t w = 0; w < static_cast<size_t>(part.wide) * part.out; ++w) values_[part.b + w] = normal(b);
  }
}

// gain · (W₀ + A·B) + identity
void Parameters::sum(const Part& part, float* out) const {
  const size_t count = static_cast<size_t>(part.rows) * part.out;
  std::copy_n(values_.data() + part.weights, count, out);
  for (size_t r = 0; r < (part.wide == 0 ? 0 : part.rows); ++r) {
    for (size_t e = 0; e < part.wide; ++e) {
      const float a = values_[part.a + r * part.wide + e];
      const float* b = values_.data() + part.b + e * part.out;
      for (size_t o = 0; o < part.out; ++o) out[r * part.out + o] += a * b[o];
    }
  }
  for (size_t w = 0; w < count; ++w) out[w] *= part.gain;
  if (!part.identity) return;
  const size_t taps = static_cast<size_t>(part.kernel) * part.kernel;
  for (size_t c = 0; c < part.out; ++c) out[(c * taps + taps / 2) * part.out + c] += 1;
}

float Parameters::rounded(float value, float scale, int limit, const std::vector<float>& anchors,
                          size_t i) const {
  if (!anchors.empty() && std::abs(value - anchors[i]) <= (0.5f + reluctance_) * scale) return anchors[i];
  return to_grid(value, scale, limit);
}

float Parameters::bias(size_t layer, size_t o) const {
  const float value = layout_.parts[layer].gain * values_[layout_.parts[layer].bias + o];
  if (rounding_.bits == 0) return value;
  static const std::vector<float> none;
  // Of another unit they are on another grid.
  const bool anchored = !anchors_.empty() && rounding_.bias_units[layer] == anchor_units_[layer];
  return rounded(value, rounding_.bias_units[layer], 127, anchored ? anchor_biases_[layer] : none, o);
}

void Parameters::start_from(const Network& network) {
  const NetworkWeights from(network);
  std::vector<float> now(layout_.effective);
  effective(now);
  for (size_t i = 0; i < layout_.parts.size(); ++i) {
    const Part& part = layout_.parts[i];
    const size_t count = static_cast<size_t>(part.rows) * part.out;
    for (size_t w = 0; w < count; ++w)
      values_[part.weights + w] += (from.effective[part.effective + w] - now[part.effective + w]) / part.gain;
    if (i + 1 == layout_.parts.size()) break;
    for (size_t o = 0; o < part.out; ++o)
      values_[part.bias + o] = from.effective[part.effective + count + o] / part.gain;
  }
}

void Parameters::stay_near(const Network& network, float reluctance) {
  const NetworkWeights from(network);
  reluctance_ = reluctance;
  anchor_limits_ = from.limits;
  for (size_t i = 0; i < layout_.parts.size(); ++i) {
    const Part& part = layout_.parts[i];
    const float* weights = from.effective.data() + part.effective;
    const size_t count = static_cast<size_t>(part.rows) * part.out;
    anchors_.emplace_back(weights, weights + count);
    const bool skip = i + 1 == layout_.parts.size();
    anchor_scales_.push_back(skip ? network.skip_scales : network.layers[i].scales);
    if (skip) break;
    anchor_biases_.push_back(network.layers[i].bias);
    anchor_units_.push_back(bias_unit(network.layers[i]));
  }
}

void Parameters::quantise(uint32_t bits, std::span<const float> limits, std::span<const float> squares) {
  rounding_.bits = bits;
  rounding_.limits.assign(limits.begin(), limits.end());
  for (float& limit : rounding_.limits) limit = scale_value(scale_code(limit));
  rounding_.scales.resize(layout_.parts.size());
  rounding_.bias_units.clear();
  for (size_t i = 0; i + 1 < layout_.parts.size(); ++i) {
    Layer layer;  // with room for biases that still grow
    for (size_t o = 0; o < layout_.parts[i].out; ++o)
      layer.bias.push_back(1.25f * layout_.parts[i].gain * values_[layout_.parts[i].bias + o]);
    rounding_.bias_units.push_back(bias_unit(layer));
    if (anchors_.empty()) continue;
    rounding_.bias_units.back() = std::max(rounding_.bias_units.back(), anchor_units_[i]);
    rounding_.limits[i] = std::max(rounding_.limits[i], anchor_limits_[i]);
  }
  if (!anchors_.empty()) {
    rounding_.scales = anchor_scales_;
    return;
  }
  for (size_t i = 0; i < layout_.parts.size(); ++i) {
    const Part& part = layout_.parts[i];
    std::vector<float> weights(static_cast<size_t>(part.rows) * part.out);
    sum(part, weights.data());
    const bool skip = i + 1 == layout_.parts.size();
    rounding_.scales[i] = least_error_scales(weights, part.rows, part.out, limit_of(skip ? kSkipBits : bits));
  }
  coarsen(rounding_.scales, layout_, squares);
}

void Parameters::effective(std::span<float> out) const {
  for (size_t i = 0; i < layout_.parts.size(); ++i) {
    const Part& part = layout_.parts[i];
    float* to = out.data() + part.effective;
    sum(part, to);
    const size_t count = static_cast<size_t>(part.rows) * part.out;
    const bool skip = i + 1 == layout_.parts.size();
    if (rounding_.bits != 0) {
      const int limit = limit_of(skip ? kSkipBits : rounding_.bits);
      static const std::vector<float> none;
      const std::vector<float>& anchors = anchors_.empty() ? none : anchors_[i];
      for (size_t w = 0; w < count; ++w)
        to[w] = rounded(to[w], rounding_.scales[i][w % part.out], limit, anchors, w);
    }
    for (size_t o = 0; o < (skip ? 0 : part.out); ++o) to[count + o] = bias(i, o);
  }
}

void Parameters::gradient(std::span<const float> effective, std::span<float> out) const {
  std::vector<float> scaled;
  for (size_t i = 0; i < layout_.parts.size(); ++i) {
    const Part& part = layout_.parts[i];
    const bool skip = i + 1 == layout_.parts.size();
    const size_t count = static_cast<size_t>(part.rows) * part.out;
    const std::span<const float> own = effective.subspan(part.effective, count + (skip ? 0 : part.out));
    scaled.assign(own.begin(), own.end());
    for (float& value : scaled) value *= part.gain;
    const float* from = scaled.data();
    std::copy_n(from, count, out.data() + part.weights);
    if (!skip) std::copy_n(from + count, part.out, out.data() + part.bias);
    std::fill_n(out.data() + part.b, static_cast<size_t>(part.wide) * part.out, 0.0f);
    for (size_t r = 0; r < (part.wide == 0 ? 0 : part.rows); ++r) {
      for (size_t e = 0; e < part.wide; ++e) {
        const float* b = values_.data() + part.b + e * part.out;
        float* to = out.data() + part.b + e * part.out;
        const float a = values_[part.a + r * part.wide + e];
        float dot = 0;
        for (size_t o = 0; o < part.out; ++o) {
          dot += from[r * part.out + o] * b[o];
          to[o] += from[r * part.out + o] * a;
        }
        out[part.a + r * part.wide + e] = dot;
      }
    }
  }
}

Network Parameters::network() const {
  Network network = shape_;
  std::vector<float> weights(layout_.effective);
  effective(weights);
  network.weight_bits = rounding_.bits;
  for (size_t i = 0; i < layout_.parts.size(); ++i) {
    const Part& part = layout_.parts[i];
    const bool skip = i + 1 == layout_.parts.size();
    std::vector<float>& to = skip ? network.skip : network.layers[i].weights;
    std::vector<int8_t>& codes = skip ? network.skip_codes : network.layers[i].codes;
    to.resize(static_cast<size_t>(part.rows) * part.out);
    codes.resize(rounding_.bits == 0 ? 0 : to.size());
    for (size_t r = 0; r < part.rows; ++r) {
      for (size_t o = 0; o < part.out; ++o) {
        const size_t at = o * part.rows + r;
        to[at] = weights[part.effective + r * part.out + o];
        if (rounding_.bits == 0) continue;
        const float scale = rounding_.scales[i][o];
        codes[at] = scale == 0 ? int8_t{0} : static_cast<int8_t>(std::nearbyint(to[at] / scale));
        to[at] = static_cast<float>(codes[at]) * scale;
      }
    }
    if (rounding_.bits != 0) (skip ? network.skip_scales : network.layers[i].scales) = rounding_.scales[i];
    if (skip) continue;
    Layer& layer = network.layers[i];
    for (size_t o = 0; o < part.out; ++o) {
      layer.bias[o] = bias(i, o);
    }
    layer.activation_max = rounding_.bits == 0 || !layer.relu ? 0 : rounding_.limits[i];
  }
  return network;
}

NetworkWeights::NetworkWeights(const Network& network) : layout(weight_layout(network, false)) {
  effective.resize(layout.effective);
  for (size_t i = 0; i < layout.parts.size(); ++i) {
    const WeightPart& part = layout.parts[i];
    const bool skip = i + 1 == layout.parts.size();
    const std::vector<float>& from = skip ? network.skip : network.layers[i].weights;
    float* to = effective.data() + part.effective;
    for (size_t r = 0; r < part.rows; ++r) {
      for (size_t o = 0; o < part.out; ++o) to[r * part.out + o] = from[o * part.rows + r];
    }
    if (skip) break;
    std::copy(network.layers[i].bias.begin(), network.layers[i].bias.end(),
              to + static_cast<size_t>(part.rows) * part.out);
    limits.push_back(network.layers[i].activation_max);
  }
  levels = network.weight_bits == 0 ? 0.0f : static_cast<float>(network.activation_levels());
}

PassWeights NetworkWeights::pass_weights(bool rounded) const {
  return {layout.parts, effective, rounded ? levels : 0.0f, limits};
}

}  // namespace cairn::video
