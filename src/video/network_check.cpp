// What validate() promises to those who run networks.
#include <cmath>
#include <span>

#include "base/error.hpp"
#include "video/network.hpp"

namespace cairn::video {
namespace {

bool finite(std::span<const float> values) {
  for (const float value : values) {
    if (!std::isfinite(value)) return false;
  }
  return true;
}

void check_codes(std::span<const int8_t> codes, std::span<const float> scales, std::span<const float> weights,
                 int limit, const std::string& what) {
  if (codes.size() != weights.size() || scales.empty() || !finite(scales))
    fail(ErrorCode::format, "{}: its codes do not fit its weights", what);
  const size_t each = codes.size() / scales.size();
  for (size_t i = 0; i < codes.size(); ++i) {
    if (codes[i] < -limit || codes[i] > limit)
      fail(ErrorCode::format, "{}: code {} is beyond ±{}", what, static_cast<int>(codes[i]), limit);
    if (weights[i] != static_cast<float>(codes[i]) * scales[i / each])
      fail(ErrorCode::format, "{}: weight {} is not its code times its scale", what, i);
  }
}

void check_layer(const Network& network, size_t index, const std::string& what) {
  const Layer& layer = network.layers[index];
  const uint32_t in = index == 0 ? network.frames : network.layers[index - 1].out;
  const bool last = index + 1 == network.layers.size();
  const uint32_t last_out = network.on_upscaled ? 1 : network.scale * network.scale;
  if (layer.in != in || layer.out < 1 || layer.out > kMaxChannels || (last && layer.out != last_out))
    fail(ErrorCode::format, "{}: {} → {} channels do not fit", what, layer.in, layer.out);
  if (layer.kernel % 2 == 0 || layer.kernel > kMaxKernel)
    fail(ErrorCode::format, "{}: a kernel of {}", what, layer.kernel);
  if (layer.weights.size() != static_cast<size_t>(layer.in) * layer.out * layer.kernel * layer.kernel ||
      layer.bias.size() != layer.out) {
    fail(ErrorCode::format, "{}: the number of its weights does not fit", what);
  }
  if (!finite(layer.weights) || !finite(layer.bias) || !std::isfinite(layer.activation_max))
    fail(ErrorCode::format, "{}: a weight is not a finite number", what);
  if (layer.add >= static_cast<int32_t>(index) || layer.add < -1 ||
      (layer.add >= 0 && network.layers[static_cast<size_t>(layer.add)].out != layer.out)) {
    fail(ErrorCode::format, "{}: adds layer {}, which does not fit", what, layer.add);
  }
  if (last && layer.relu) fail(ErrorCode::format, "{}: the last layer has a ReLU", what);
  if (network.weight_bits == 0) {
    if (!layer.codes.empty() || !layer.scales.empty())
      fail(ErrorCode::format, "{}: codes in a network that is not quantised", what);
    return;
  }
  if (layer.scales.size() != layer.out) fail(ErrorCode::format, "{}: a scale is missing", what);
  check_codes(layer.codes, layer.scales, layer.weights, (1 << (network.weight_bits - 1)) - 1, what);
  if (layer.relu && !(layer.activation_max > 0))
    fail(ErrorCode::format, "{}: the range of its output is {}", what, layer.activation_max);
}

}  // namespace

void validate(const Network& network, const std::string& what) {
  if (network.scale < 1 || network.scale > kMaxScale)
    fail(ErrorCode::format, "{}: scale {} (1 … {} are known)", what, network.scale, kMaxScale);
  if (network.frames < 1 || network.frames > 3)
    fail(ErrorCode::format, "{}: {} input frames (1 … 3 are known)", what, network.frames);
  if (network.weight_bits != 0 && (network.weight_bits < 4 || network.weight_bits > 8))
    fail(ErrorCode::format, "{}: {} bits a weight (4 … 8 are known)", what, network.weight_bits);
  if (network.layers.size() > kMaxLayers || network.layers.size() == 1)
    fail(ErrorCode::format, "{}: {} layers (2 … {} are known)", what, network.layers.size(), kMaxLayers);
  const size_t phases = static_cast<size_t>(network.scale) * network.scale;
  if (network.skip.size() != phases * kSkipTaps || !finite(network.skip))
    fail(ErrorCode::format, "{}: its 5×5 filter is not one", what);
  if (network.weight_bits != 0) {
    if (network.skip_scales.size() != phases) fail(ErrorCode::format, "{}: a scale is missing", what);
    check_codes(network.skip_codes, network.skip_scales, network.skip, 127, what + ": 5×5 filter");
  }
  for (size_t i = 0; i < network.layers.size(); ++i)
    check_layer(network, i, fmt::format("{}: layer {}", what, i));
}

}  // namespace cairn::video
