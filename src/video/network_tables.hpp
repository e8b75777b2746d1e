// What network_codec.cpp and network_delta.cpp share: a quantised network as tables of small integers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "formats/byte_reader.hpp"
#include "video/attachment.hpp"
#include "video/quantise.hpp"
#include "video/range_coder.hpp"

namespace cairn::video {

constexpr uint8_t kChromaFlag = 1;

// Scales and biases as the integers of their grids.
struct Tables {
  std::vector<std::vector<int8_t>> scales, biases;  // [layer]; the 5×5 filter's scales last
};

// units[layer]: what biases are multiples of.
inline Tables grid_tables(const Network& network, const std::vector<float>& units) {
  Tables tables;
  const auto scales = [&](const std::vector<float>& from) {
    std::vector<int8_t> codes;
    for (const float scale : from) codes.push_back(scale_code(scale));
    tables.scales.push_back(codes);
  };
  for (size_t i = 0; i < network.layers.size(); ++i) {
    scales(network.layers[i].scales);
    std::vector<int8_t>& biases = tables.biases.emplace_back();
    for (const float bias : network.layers[i].bias)
      biases.push_back(static_cast<int8_t>(std::clamp(std::nearbyint(bias / units[i]), -127.0f, 127.0f)));
  }
  scales(network.skip_scales);
  return tables;
}

inline std::vector<float> bias_units(const Network& network) {
  std::vector<float> units;
  for (const Layer& layer : network.layers) units.push_back(bias_unit(layer));
  return units;
}

// Of `starts` ways to begin a table's adaptive frequencies the one with the fewest bytes; encode(coder,
// start) codes the table.
template <class Encode>
uint32_t best_start(uint32_t starts, const Encode& encode) {
  size_t least = std::numeric_limits<size_t>::max();
  uint32_t best = 0;
  for (uint32_t start = 0; start < starts; ++start) {
    RangeEncoder coder;
    encode(coder, start);
    const size_t bytes = coder.finish().size();
    if (bytes < least) least = bytes, best = start;
  }
  return best;
}

// Fills in what follows from the codes: scales, weights, biases. Checks the network.
void finish_network(Network& network, const Tables& tables, const std::vector<float>& units,
                    const std::string& what);

}  // namespace cairn::video
