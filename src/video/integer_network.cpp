#include "video/integer_network.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/error.hpp"

namespace cairn::video {
namespace {

constexpr int32_t kLargestBias = 1 << 30;

uint32_t whole_groups(uint32_t channels) {
  return (channels + 3) / 4;
}

int8_t code(const Layer& layer, uint32_t o, uint32_t i, uint32_t tap) {
  return layer.codes[(static_cast<size_t>(o) * layer.in + i) * layer.kernel * layer.kernel + tap];
}

// Steps whose pairs of products fit 16 bits together, for inputs up to `largest`.
uint8_t steps_together(const std::vector<int8_t>& weights, int largest) {
  int magnitude = 1;
  for (const int8_t w : weights) magnitude = std::max(magnitude, std::abs(static_cast<int>(w)));
  return static_cast<uint8_t>(std::min(4, 32767 / (2 * largest * magnitude)));
}

// What one unit of a sum is worth, given what one unit of the input is. An output whose scale is zero has
// only its bias: any unit fine enough will do.
double sum_unit(const Layer& layer, uint32_t o, double input_unit, double output_unit) {
  const double unit = static_cast<double>(layer.scales[o]) * input_unit;
  return std::abs(unit) > output_unit * 1e-7 ? unit : output_unit / 1024;
}

struct Sum {
  int32_t bias;
  double multiplier;
};

// bias and multiplier of an output whose codes have magnitudes adding up to `codes`.
Sum fold(double bias, double unit, double output_unit, int64_t codes, int largest, const std::string& what) {
  const double units = std::round(bias / unit);
  if (!(std::abs(units) <= kLargestBias) || codes * largest > kLargestBias)
    fail(ErrorCode::format, "{}: a bias of {} and weights of {} leave 32 bits", what, bias, unit);
  // Beyond this multiplier every positive sum gives the largest output anyway.
  const double bound = std::abs(units) + static_cast<double>(codes * largest) + 1;
  const double most = static_cast<double>(1u << 30) / bound;
  return {static_cast<int32_t>(units), std::clamp(unit / output_unit, -most, most)};
}

// The step order is rows, columns, groups; here one output's four weights of a step.
void pack_hidden(const Layer& layer, uint32_t o, bool keep, IntegerLayer& out) {
  const uint32_t taps = layer.kernel * layer.kernel;
  int8_t* block = out.weights.data() + static_cast<size_t>(o / 4) * out.steps * 16 + o % 4 * 4;
  for (uint32_t i = 0; keep && i < layer.in; ++i) {
    for (uint32_t t = 0; t < taps; ++t)
      block[(static_cast<size_t>(t) * out.groups + i / 4) * 16 + i % 4] = code(layer, o, i, t);
  }
}

// The first layer's steps are rows and groups: a group is three neighbours of one frame's row.
void pack_head(const Layer& layer, uint32_t o, bool keep, bool halves, IntegerLayer& out) {
  int8_t* block = out.weights.data() + static_cast<size_t>(o / 4) * out.steps * 16 + o % 4 * 4;
  for (uint32_t i = 0; keep && i < layer.in; ++i) {
    for (uint32_t t = 0; t < 9; ++t) {
      for (uint32_t half = 0; half < (halves ? 2u : 1u); ++half) {
        const uint32_t group = halves ? 2 * i + half : i;
        block[(static_cast<size_t>(t / 3) * out.groups + group) * 16 + t % 3] = code(layer, o, i, t);
      }
    }
  }
}

int64_t magnitudes(const Layer& layer, uint32_t o) {
  int64_t sum = 0;
  const size_t each = layer.codes.size() / layer.out;
  for (size_t i = 0; i < each; ++i) sum += std::abs(static_cast<int>(layer.codes[o * each + i]));
  return sum;
}

IntegerLayer make_hidden(const Network& network, size_t index, double input_unit, bool halves,
                         const std::string& what) {
  const Layer& layer = network.layers[index];
  const bool head = index == 0;
  IntegerLayer out;
  out.kernel = layer.kernel;
  out.groups = head ? layer.in * (halves ? 2 : 1) : whole_groups(layer.in);
  out.outputs = whole_groups(layer.out) * 4;
  out.steps = out.groups * (head ? 3 : layer.kernel * layer.kernel);
  out.weights.assign(static_cast<size_t>(out.outputs) * out.steps * 4, 0);
  out.bias.assign(out.outputs, 0);
  out.multiplier.assign(out.outputs, 0.0f);
  const auto levels = static_cast<int>(network.activation_levels());
  out.largest = static_cast<uint8_t>(levels);
  const int input_largest = head ? 255 : levels;
  const double output_unit = static_cast<double>(layer.activation_max) / levels;
  for (uint32_t o = 0; o < layer.out; ++o) {
    const double unit = sum_unit(layer, o, input_unit, output_unit);
    const bool keep = unit == static_cast<double>(layer.scales[o]) * input_unit;
    double bias = layer.bias[o];
    const size_t each = layer.weights.size() / layer.out;
    for (size_t i = 0; head && i < each; ++i) bias -= 0.5 * layer.weights[o * each + i];
    const Sum sum = fold(bias, unit, output_unit, keep ? magnitudes(layer, o) : 0, input_largest, what);
    out.bias[o] = sum.bias;
    out.multiplier[o] = static_cast<float>(sum.multiplier);
    if (head) {
      pack_head(layer, o, keep, halves, out);
    } else {
      pack_hidden(layer, o, keep, out);
    }
  }
  out.together = steps_together(out.weights, head ? (halves ? 128 : 255) : levels);
  return out;
}

// The 5×5 filter, bicubic included, in 16 bits; each phase's sum is kept by its largest tap.
void make_skip(const Network& network, IntegerTail& out, const std::string& what) {
  const std::vector<float> bicubic = bicubic_taps(network.scale);
  std::vector<double> taps(bicubic.begin(), bicubic.end());
  double largest = 0;
  for (size_t i = 0; i < taps.size(); ++i) {
    taps[i] += network.skip[i];
    largest = std::max(largest, std::abs(taps[i]));
  }
  if (largest > 16) fail(ErrorCode::format, "{}: the 5×5 filter has a tap of {}", what, largest);
  double unit = 1.0 / (1 << 14);
  while (largest / unit > 32000) unit *= 2;
  constexpr size_t kEach = kernels::kSkipRows * kernels::kSkipPairs * 2;
  out.skip.assign(taps.size() / kSkipTaps * kEach, 0);
  for (size_t phase = 0; phase < taps.size() / kSkipTaps; ++phase) {
    double sum = 0;
    long total = 0;
    size_t heaviest = 0;
    for (size_t t = 0; t < kSkipTaps; ++t) {
      const double tap = taps[phase * kSkipTaps + t];
      const long rounded = std::lround(tap / unit);
      const size_t to = phase * kEach + t / kSkipSide * kernels::kSkipPairs * 2 + t % kSkipSide;
      out.skip[to] = static_cast<int16_t>(rounded);
      if (std::abs(out.skip[to]) > std::abs(out.skip[phase * kEach + heaviest]))
        heaviest = to - phase * kEach;
      sum += tap;
      total += rounded;
    }
    out.skip[phase * kEach + heaviest] =
        static_cast<int16_t>(out.skip[phase * kEach + heaviest] + std::lround(sum / unit) - total);
  }
  out.skip_multiplier = static_cast<float>(unit);
}

IntegerTail make_tail(const Network& network, double input_unit, uint32_t bits, const std::string& what) {
  IntegerTail out;
  out.scale = network.scale;
  out.peak = bits == 8 ? 255 : 1023;
  const uint32_t phases = network.scale * network.scale;
  out.multiplier.assign(phases, 0.0f);
  out.offset.assign(phases, 0.0f);
  make_skip(network, out, what);
  if (network.layers.empty()) return out;
  const Layer& layer = network.layers.back();
  const auto levels = static_cast<int>(network.activation_levels());
  out.kernel = layer.kernel;
  out.groups = whole_groups(layer.in);
  out.steps = out.groups * layer.kernel * layer.kernel;
  const uint32_t block = network.scale == 2 ? 4 : network.scale;  // outputs that the kernel takes at a time
  out.weights.assign(static_cast<size_t>(phases) * out.steps * 4, 0);
  for (uint32_t o = 0; o < phases; ++o) {
    if (magnitudes(layer, o) * levels > kLargestBias)
      fail(ErrorCode::format, "{}: its weights leave 32 bits", what);
    out.multiplier[o] = static_cast<float>(static_cast<double>(layer.scales[o]) * input_unit * out.peak);
    out.offset[o] = layer.bias[o] * out.peak;
    if (!std::isfinite(out.multiplier[o]) || !std::isfinite(out.offset[o]))
      fail(ErrorCode::format, "{}: the last layer's numbers are too large", what);
    int8_t* to = out.weights.data() + (static_cast<size_t>(o / block) * out.steps * block + o % block) * 4;
    for (uint32_t i = 0; i < layer.in; ++i) {
      for (uint32_t t = 0; t < layer.kernel * layer.kernel; ++t)
        to[(static_cast<size_t>(t) * out.groups + i / 4) * block * 4 + i % 4] = code(layer, o, i, t);
    }
  }
  out.together = steps_together(out.weights, levels);
  return out;
}

}  // namespace

bool runs_in_integers(const Network& network) {
  if (network.layers.empty()) return true;
  if (network.weight_bits == 0 || network.on_upscaled || network.layers.front().kernel != 3) return false;
  for (size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    if (layer.add >= 0 || layer.relu != (i + 1 < network.layers.size())) return false;
  }
  return true;
}

IntegerNetwork make_integer(const Network& network, uint32_t bits, const std::string& what) {
  IntegerNetwork out;
  out.frames = network.frames;
  double unit = bits == 8 ? 1.0 / 255 : 4.0 / 1023;
  if (!network.layers.empty()) {
    int magnitude = 1;
    for (const int8_t c : network.layers.front().codes)
      magnitude = std::max(magnitude, std::abs(static_cast<int>(c)));
    out.halves = 2 * 255 * magnitude > 32767;
    for (size_t i = 0; i + 1 < network.layers.size(); ++i) {
      out.hidden.push_back(make_hidden(network, i, unit, out.halves, fmt::format("{}: layer {}", what, i)));
      unit = static_cast<double>(network.layers[i].activation_max) / network.activation_levels();
    }
  }
  out.tail = make_tail(network, unit, bits, what);
  return out;
}

}  // namespace cairn::video
