#include "video/network.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/error.hpp"

namespace cairn::video {
namespace {

using Kind = Architecture::Kind;

// A number at the front of text, taken off it.
std::optional<uint32_t> take_number(std::string_view& text) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

struct Paper {
  const char* name;
  Kind kind;
  uint32_t depth, deepest;  // depth 0: fixed
};
constexpr std::array<Paper, 6> kPapers = {{{"linear", Kind::linear, 0, 0},
                                           {"ESPCN", Kind::espcn, 0, 0},
                                           {"SRCNN", Kind::srcnn, 0, 0},
                                           {"VDSR", Kind::vdsr, 20, 40},
                                           {"EDSR", Kind::edsr, 16, 28},
                                           {"WDSR", Kind::wdsr, 16, 28}}};

Layer make_layer(uint32_t in, uint32_t out, uint32_t kernel, bool relu, int32_t add = -1) {
  Layer layer;
  layer.in = in;
  layer.out = out;
  layer.kernel = kernel;
  layer.relu = relu;
  layer.add = add;
  layer.weights.assign(static_cast<size_t>(in) * out * kernel * kernel, 0.0f);
  layer.bias.assign(out, 0.0f);
  return layer;
}

// EDSR's and WDSR's body: head, blocks of two convolutions with their input added, tail.
void add_blocks(std::vector<Layer>& layers, uint32_t frames, uint32_t depth, uint32_t width, uint32_t inner,
                uint32_t phases) {
  layers.push_back(make_layer(frames, width, 3, false));
  for (uint32_t b = 0; b < depth; ++b) {
    const auto input = static_cast<int32_t>(layers.size() - 1);
    layers.push_back(make_layer(width, inner, 3, true));
    layers.push_back(make_layer(inner, width, 3, false, input));
  }
  layers.push_back(make_layer(width, phases, 3, false));
}

}  // namespace

std::string Architecture::name() const {
  if (kind == Kind::chain) {
    return fmt::format("C{}M{}{}", channels, depth, frames == 1 ? "" : fmt::format("T{}", frames));
  }
  for (const Paper& paper : kPapers) {
    if (paper.kind != kind) continue;
    return paper.depth == 0 || paper.depth == depth ? paper.name : fmt::format("{}:{}", paper.name, depth);
  }
  return "unknown";
}

Architecture parse_architecture(std::string_view name) {
  const auto refuse = [&]() {
    fail(ErrorCode::invalid_argument,
         "\"{}\" is not a network: C8M4 (channels 1 … 64, inner layers 0 … 16; T2, T3 after it: with "
         "neighbouring frames), linear, ESPCN, SRCNN, VDSR, EDSR, WDSR (the last three with :DEPTH)",
         name);
  };
  Architecture architecture;
  for (const Paper& paper : kPapers) {
    if (!name.starts_with(paper.name)) continue;
    architecture.kind = paper.kind;
    architecture.depth = paper.depth;
    std::string_view rest = name.substr(std::string_view(paper.name).size());
    if (rest.empty()) return architecture;
    if (paper.depth == 0 || rest.front() != ':') refuse();
    rest.remove_prefix(1);
    const auto depth = take_number(rest);
    if (!depth || !rest.empty() || *depth < 1 || *depth > paper.deepest) refuse();
    architecture.depth = *depth;
    return architecture;
  }
  std::string_view rest = name;
  const auto field = [&](char letter) -> std::optional<uint32_t> {
    if (rest.empty() || rest.front() != letter) return std::nullopt;
    rest.remove_prefix(1);
    return take_number(rest);
  };
  const auto channels = field('C'), depth = field('M');
  if (!channels || !depth || *channels < 1 || *channels > 64 || *depth > 16) refuse();
  architecture.channels = *channels;
  architecture.depth = *depth;
  if (!rest.empty()) {
    const auto frames = field('T');
    if (!frames || *frames < 1 || *frames > 3 || !rest.empty()) refuse();
    architecture.frames = *frames;
  }
  return architecture;
}

std::vector<float> bicubic_taps(uint32_t scale) {
  std::vector<float> taps(static_cast<size_t>(scale) * scale * kSkipTaps, 0.0f);
  // Keys' cubic convolution kernel, a = -1/2 (IEEE ASSP 29(6), 1981).
  const auto kernel = [](double x) {
    x = std::abs(x);
    if (x < 1) return 1.5 * x * x * x - 2.5 * x * x + 1;
    if (x < 2) return -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2;
    return 0.0;
  };
  for (uint32_t phase = 0; phase < scale * scale; ++phase) {
    const double dy = (phase / scale + 0.5) / scale - 0.5, dx = (phase % scale + 0.5) / scale - 0.5;
    for (uint32_t tap = 0; tap < kSkipTaps; ++tap) {
      const double y = tap / kSkipSide - 2.0, x = tap % kSkipSide - 2.0;
      taps[phase * kSkipTaps + tap] = static_cast<float>(kernel(y - dy) * kernel(x - dx));
    }
  }
  return taps;
}

Network make_network(const Architecture& architecture, uint32_t scale) {
  if (scale < 1 || scale > kMaxScale) fail(ErrorCode::invalid_argument, "scale {}: it is 1 … 4", scale);
  Network network;
  network.scale = scale;
  network.frames = architecture.frames;
  network.skip.assign(static_cast<size_t>(scale) * scale * kSkipTaps, 0.0f);
  const uint32_t phases = scale * scale, c = architecture.channels, in = architecture.frames;
  std::vector<Layer>& layers = network.layers;
  switch (architecture.kind) {
    case Kind::linear:
      break;
    case Kind::chain:
      layers.push_back(make_layer(in, c, 3, true));
      for (uint32_t i = 0; i < architecture.depth; ++i) layers.push_back(make_layer(c, c, 3, true));
      layers.push_back(make_layer(c, phases, 3, false));
      break;
    case Kind::espcn:
      layers.push_back(make_layer(in, 64, 3, true));
      layers.push_back(make_layer(64, 64, 3, true));
      layers.push_back(make_layer(64, 32, 3, true));
      layers.push_back(make_layer(32, phases, 3, false));
      break;
    case Kind::srcnn:
      network.on_upscaled = true;
      layers.push_back(make_layer(in, 64, 9, true));
      layers.push_back(make_layer(64, 32, 5, true));
      layers.push_back(make_layer(32, 1, 5, false));
      break;
    case Kind::vdsr:
      network.on_upscaled = true;
      for (uint32_t i = 0; i < architecture.depth; ++i) {
        const bool last = i + 1 == architecture.depth;
        layers.push_back(make_layer(i == 0 ? in : 64, last ? 1 : 64, 3, !last));
      }
      break;
    case Kind::edsr:
      add_blocks(layers, in, architecture.depth, 64, 64, phases);
      break;
    case Kind::wdsr:
      add_blocks(layers, in, architecture.depth, 32, 128, phases);
      break;
  }
  return network;
}

uint64_t parameters(const Network& network) {
  uint64_t count = network.skip.size();
  for (const Layer& layer : network.layers) count += layer.weights.size() + layer.bias.size();
  return count;
}

double macs_per_small_pixel(const Network& network) {
  double macs = static_cast<double>(network.skip.size());
  const double pixels = network.on_upscaled ? network.scale * network.scale : 1;
  for (const Layer& layer : network.layers) macs += pixels * static_cast<double>(layer.weights.size());
  return macs;
}

uint32_t reach(const Network& network) {
  uint32_t sum = 0;
  for (const Layer& layer : network.layers) sum += layer.kernel / 2;
  if (network.on_upscaled) sum = (sum + network.scale - 1) / network.scale + kSkipSide / 2;
  return std::max(sum, kSkipSide / 2);
}

}  // namespace cairn::video
