// encode_delta() and decode_delta(): a network as what differs from another one of its kind.
#include <cmath>

#include "video/attachment.hpp"
#include "video/bytes.hpp"
#include "video/network_tables.hpp"

namespace cairn::video {
namespace {

// Differences of bytes: -255 … 255 and one symbol to spare, so that the middle is size / 2.
constexpr uint32_t kByteDifferences = 512;

struct Differences {
  std::vector<int> values;
  uint32_t size;  // symbols; a difference d is symbol d + size / 2
};

// The tables in the file's order: units and ranges, scales, biases, then weights layer by layer and the 5×5
// filter's.
struct Delta {
  Differences grids{{}, kByteDifferences}, scales{{}, kByteDifferences}, biases{{}, kByteDifferences};
  std::vector<Differences> weights;

  std::vector<Differences*> list() {
    std::vector<Differences*> all = {&grids, &scales, &biases};
    for (Differences& table : weights) all.push_back(&table);
    return all;
  }
};

// As many zeros as a delta to this network has values.
Delta empty_delta(const Network& network) {
  Delta delta;
  for (const Layer& layer : network.layers) {
    delta.grids.values.resize(delta.grids.values.size() + (layer.relu ? 2 : 1));
    delta.scales.values.resize(delta.scales.values.size() + layer.out);
    delta.biases.values.resize(delta.biases.values.size() + layer.out);
    delta.weights.push_back({std::vector<int>(layer.weights.size()), 2u << network.weight_bits});
  }
  delta.scales.values.resize(delta.scales.values.size() + static_cast<size_t>(network.scale) * network.scale);
  delta.weights.push_back({std::vector<int>(network.skip.size()), kByteDifferences});
  return delta;
}

void encode_differences(RangeEncoder& coder, const Differences& table, uint32_t spike) {
  coder.encode(spike, 1, AdaptiveModel::kSpikes);
  AdaptiveModel model = AdaptiveModel::spike(table.size, spike);
  for (const int value : table.values)
    model.encode(coder, static_cast<uint32_t>(value + static_cast<int>(table.size / 2)));
}

uint32_t best_spike(const Differences& table) {
  return best_start(AdaptiveModel::kSpikes,
                    [&](RangeEncoder& coder, uint32_t spike) { encode_differences(coder, table, spike); });
}

int exponent_of(float unit) {
  return std::ilogb(unit);
}

}  // namespace

bool can_differ(const Network& a, const Network& b) {
  if (a.weight_bits == 0 || a.weight_bits != b.weight_bits || a.plane != b.plane || a.scale != b.scale ||
      a.frames != b.frames || a.on_upscaled != b.on_upscaled || a.layers.size() != b.layers.size())
    return false;
  for (size_t i = 0; i < a.layers.size(); ++i) {
    const Layer &x = a.layers[i], &y = b.layers[i];
    if (x.in != y.in || x.out != y.out || x.kernel != y.kernel || x.relu != y.relu || x.add != y.add)
      return false;
  }
  return true;
}

std::vector<std::byte> encode_delta(const Network& network, const Network& base, uint32_t base_number) {
  std::vector<std::byte> bytes;
  put_varint(bytes, base_number);
  const std::vector<float> units = bias_units(network), base_units = bias_units(base);
  const Tables to = grid_tables(network, units), from = grid_tables(base, units);
  Delta delta = empty_delta(network);
  size_t grid = 0, scale = 0, bias = 0;
  const auto differ = [](std::vector<int>& values, size_t& at, const std::vector<int8_t>& a,
                         const std::vector<int8_t>& b) {
    for (size_t i = 0; i < a.size(); ++i) values[at++] = static_cast<int>(a[i]) - b[i];
  };
  for (size_t i = 0; i < network.layers.size(); ++i) {
    const Layer &layer = network.layers[i], &old = base.layers[i];
    delta.grids.values[grid++] = exponent_of(units[i]) - exponent_of(base_units[i]);
    if (layer.relu)
      delta.grids.values[grid++] =
          static_cast<int>(scale_code(layer.activation_max)) - scale_code(old.activation_max);
    differ(delta.scales.values, scale, to.scales[i], from.scales[i]);
    differ(delta.biases.values, bias, to.biases[i], from.biases[i]);
    size_t weight = 0;
    differ(delta.weights[i].values, weight, layer.codes, old.codes);
  }
  differ(delta.scales.values, scale, to.scales.back(), from.scales.back());
  size_t weight = 0;
  differ(delta.weights.back().values, weight, network.skip_codes, base.skip_codes);
  RangeEncoder coder;
  for (const Differences* table : delta.list()) encode_differences(coder, *table, best_spike(*table));
  const std::vector<std::byte> coded = coder.finish();
  bytes.insert(bytes.end(), coded.begin(), coded.end());
  return bytes;
}

Network decode_delta(std::span<const std::byte> bytes, const std::vector<Network>& networks,
                     const std::string& what, uint32_t* base_number) {
  ByteReader reader(bytes, what);
  const uint64_t number = take_varint(reader, "the network it differs from");
  if (number >= networks.size()) {
    reader.error_at(0, ErrorCode::format, "it differs from network {}, before it there are {}", number,
                    networks.size());
  }
  const Network& base = networks[number];
  if (base.weight_bits == 0)
    reader.error_at(0, ErrorCode::format, "it differs from network {}, which is not quantised", number);
  if (base_number != nullptr) *base_number = static_cast<uint32_t>(number);

  Network network = base;
  Delta delta = empty_delta(network);
  RangeDecoder coder(reader.take(reader.remaining(), "the differences"));
  for (Differences* table : delta.list()) {
    const uint32_t spike = coder.at(AdaptiveModel::kSpikes);
    coder.take(spike, 1);
    AdaptiveModel model = AdaptiveModel::spike(table->size, spike);
    for (int& value : table->values)
      value = static_cast<int>(model.decode(coder)) - static_cast<int>(table->size / 2);
    if (coder.overrun()) fail(ErrorCode::format, "{}: truncated: its weights go on beyond its end", what);
  }
  const auto add = [&](int value, int difference, int lowest) {
    const int sum = value + difference;
    if (sum < lowest || sum > 127) fail(ErrorCode::format, "{}: a difference leads to {}", what, sum);
    return static_cast<int8_t>(sum);
  };
  size_t grid = 0, scale = 0, bias = 0;
  std::vector<float> units = bias_units(base);
  for (size_t i = 0; i < network.layers.size(); ++i) {
    Layer& layer = network.layers[i];
    const int exponent = exponent_of(units[i]) + delta.grids.values[grid++];
    if (exponent < -24 || exponent > 8) fail(ErrorCode::format, "{}: biases of 2^{}", what, exponent);
    units[i] = std::ldexp(1.0f, exponent);
    if (layer.relu)
      layer.activation_max =
          scale_value(add(scale_code(layer.activation_max), delta.grids.values[grid++], -127));
  }
  Tables tables = grid_tables(base, units);
  const auto apply = [&](std::vector<int8_t>& codes, const std::vector<int>& values, size_t& at, int lowest) {
    for (int8_t& code : codes) code = add(code, values[at++], lowest);
  };
  for (size_t i = 0; i < network.layers.size(); ++i) {
    size_t weight = 0;
    apply(tables.scales[i], delta.scales.values, scale, -128);
    apply(tables.biases[i], delta.biases.values, bias, -128);
    apply(network.layers[i].codes, delta.weights[i].values, weight, -128);
    network.layers[i].scales.clear();
  }
  size_t weight = 0;
  apply(tables.scales.back(), delta.scales.values, scale, -128);
  apply(network.skip_codes, delta.weights.back().values, weight, -128);
  network.skip_scales.clear();
  finish_network(network, tables, units, what);
  return network;
}

}  // namespace cairn::video
