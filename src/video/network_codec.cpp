// encode_network() and decode_network(): weights as bytes.
#include <algorithm>
#include <cmath>

#include "video/attachment.hpp"
#include "video/bytes.hpp"
#include "video/network_tables.hpp"
#include "video/quantise.hpp"

namespace cairn::video {
namespace {

constexpr uint64_t kMostParameters = 1u << 23;
constexpr size_t kTried = 4096;  // codes that choose a table's start: it matters little to longer ones

// The list of everything that is a table of small integers, in the order of the file.
struct Table {
  std::span<int8_t> codes;
  uint32_t size;  // symbols; code c is symbol c + size / 2
};

std::vector<Table> tables_of(Network& network, Tables& tables) {
  std::vector<Table> list;
  const uint32_t symbols = 1u << network.weight_bits;
  for (size_t i = 0; i < network.layers.size(); ++i) {
    list.push_back({tables.scales[i], 256});
    list.push_back({tables.biases[i], 256});
    list.push_back({network.layers[i].codes, symbols});
  }
  list.push_back({tables.scales.back(), 256});
  list.push_back({network.skip_codes, 256});
  return list;
}

// Codes of one table: which bell they start from is told first, a byte's worth.
void encode_table(RangeEncoder& coder, const Table& table, uint32_t bell) {
  coder.encode(bell, 1, AdaptiveModel::kBells);
  AdaptiveModel model = AdaptiveModel::bell(table.size, bell);
  for (const int8_t code : table.codes)
    model.encode(coder, static_cast<uint32_t>(code + static_cast<int>(table.size / 2)));
}

uint32_t best_bell(Table table) {
  table.codes = table.codes.first(std::min<size_t>(table.codes.size(), kTried));
  return best_start(AdaptiveModel::kBells,
                    [&](RangeEncoder& coder, uint32_t bell) { encode_table(coder, table, bell); });
}

}  // namespace

std::vector<std::byte> encode_network(const Network& network, const Architecture& architecture) {
  std::vector<std::byte> bytes;
  put(bytes, static_cast<uint8_t>(network.plane == Network::Plane::chroma ? kChromaFlag : 0));
  put(bytes, static_cast<uint8_t>(network.weight_bits));
  put(bytes, static_cast<uint8_t>(architecture.kind));
  put(bytes, static_cast<uint8_t>(architecture.channels));
  put(bytes, static_cast<uint8_t>(architecture.depth));
  put(bytes, static_cast<uint8_t>(architecture.frames));
  if (network.weight_bits == 0) {
    const auto floats = [&](const std::vector<float>& values) {
      for (const float value : values) put(bytes, value);
    };
    for (const Layer& layer : network.layers) floats(layer.weights), floats(layer.bias);
    floats(network.skip);
    return bytes;
  }
  for (const Layer& layer : network.layers) {
    put(bytes, static_cast<int8_t>(bias_exponent(layer)));
    if (layer.relu) put(bytes, static_cast<int8_t>(scale_code(layer.activation_max)));
  }
  Tables tables = grid_tables(network, bias_units(network));
  Network copy = network;
  RangeEncoder coder;
  for (const Table& table : tables_of(copy, tables)) encode_table(coder, table, best_bell(table));
  const std::vector<std::byte> coded = coder.finish();
  bytes.insert(bytes.end(), coded.begin(), coded.end());
  return bytes;
}

void finish_network(Network& network, const Tables& tables, const std::vector<float>& units,
                    const std::string& what) {
  const auto weigh = [&](std::span<const int8_t> codes, std::span<const float> scales,
                         std::vector<float>& weights) {
    const size_t each = codes.size() / scales.size();
    for (size_t i = 0; i < codes.size(); ++i) weights[i] = static_cast<float>(codes[i]) * scales[i / each];
  };
  for (size_t i = 0; i <= network.layers.size(); ++i) {
    std::vector<float>& scales = i == network.layers.size() ? network.skip_scales : network.layers[i].scales;
    for (const int8_t code : tables.scales[i]) scales.push_back(scale_value(code));
    if (i == network.layers.size()) break;
    Layer& layer = network.layers[i];
    weigh(layer.codes, layer.scales, layer.weights);
    for (size_t o = 0; o < layer.out; ++o) layer.bias[o] = static_cast<float>(tables.biases[i][o]) * units[i];
  }
  weigh(network.skip_codes, network.skip_scales, network.skip);
  validate(network, what);
}

Network decode_network(std::span<const std::byte> bytes, uint32_t scale, const std::string& what,
                       Architecture* told) {
  ByteReader reader(bytes, what);
  const auto flags = reader.read<uint8_t>("the network's flags");
  const auto bits = reader.read<uint8_t>("the bits of a weight");
  Architecture architecture;
  architecture.kind = static_cast<Architecture::Kind>(reader.read<uint8_t>("the kind of network"));
  architecture.channels = reader.read<uint8_t>("the channels");
  architecture.depth = reader.read<uint8_t>("the depth");
  architecture.frames = reader.read<uint8_t>("the input frames");
  if (flags > kChromaFlag) reader.error_at(0, ErrorCode::format, "flags {} are not known", flags);
  if (bits != 0 && (bits < 4 || bits > 8)) reader.error_at(1, ErrorCode::format, "{} bits a weight", bits);
  if (architecture.kind > Architecture::Kind::wdsr)
    reader.error_at(2, ErrorCode::format, "network kind {} is not known",
                    static_cast<int>(architecture.kind));
  uint32_t frames = 0;
  try {
    frames = parse_architecture(architecture.name()).frames;  // the names' own limits are the limits
  } catch (const Error& error) {
    reader.error_at(2, ErrorCode::format, "{}", error.what());
  }
  if (frames != architecture.frames && architecture.frames != 1)
    reader.error_at(5, ErrorCode::format, "{} input frames", architecture.frames);
  Network network = make_network(architecture, scale);
  network.plane = (flags & kChromaFlag) != 0 ? Network::Plane::chroma : Network::Plane::luma;
  network.weight_bits = bits;
  if (parameters(network) > kMostParameters)
    reader.error_at(2, ErrorCode::format, "a network of {} parameters", parameters(network));
  if (told != nullptr) *told = architecture;
  if (bits == 0) {
    const auto floats = [&](std::vector<float>& values) {
      const auto from = reader.take(values.size() * sizeof(float), "the weights");
      std::memcpy(values.data(), from.data(), from.size());
    };
    for (Layer& layer : network.layers) floats(layer.weights), floats(layer.bias);
    floats(network.skip);
    if (reader.remaining() != 0) reader.error(ErrorCode::format, "{} bytes too many", reader.remaining());
    validate(network, what);
    return network;
  }
  Tables tables;
  std::vector<float> units;
  for (Layer& layer : network.layers) {
    units.push_back(std::ldexp(1.0f, std::clamp<int>(reader.read<int8_t>("a bias' unit"), -24, 8)));
    if (layer.relu) layer.activation_max = scale_value(reader.read<int8_t>("an output's range"));
    layer.codes.resize(layer.weights.size());
    tables.scales.emplace_back(layer.out);
    tables.biases.emplace_back(layer.out);
  }
  network.skip_codes.resize(network.skip.size());
  tables.scales.emplace_back(static_cast<size_t>(scale) * scale);

  RangeDecoder coder(reader.take(reader.remaining(), "the weights"));
  for (const Table& table : tables_of(network, tables)) {
    const uint32_t bell = coder.at(AdaptiveModel::kBells);
    coder.take(bell, 1);
    AdaptiveModel model = AdaptiveModel::bell(table.size, bell);
    for (int8_t& code : table.codes)
      code = static_cast<int8_t>(static_cast<int>(model.decode(coder)) - static_cast<int>(table.size / 2));
    if (coder.overrun()) fail(ErrorCode::format, "{}: truncated: its weights go on beyond its end", what);
  }
  finish_network(network, tables, units, what);
  return network;
}

}  // namespace cairn::video
