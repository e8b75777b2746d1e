#include "offload/profile.hpp"

#include <algorithm>

#include "base/clock.hpp"
#include "base/error.hpp"

namespace cairn::offload {
namespace {

constexpr uint32_t kLengths[] = {64, 128, 256, 512};
constexpr int kRounds = 3;
constexpr double kTolerance = 1.05;

// Seconds of the first layer's products on `tokens` zeros, the least of some rounds; negative: refused.
double layer_seconds(Products& products, Accelerator& accelerator, const kernels::StaticKernels& kernels,
                     uint32_t tokens) {
  double total = 0;
  const size_t padded = (tokens + kernels.tile_tokens - 1) / kernels.tile_tokens * kernels.tile_tokens;
  for (size_t input = 0; input < quantize::kInputs; ++input) {
    const auto which = static_cast<quantize::Input>(input);
    const Product& product = products.at(0, which);
    if (product.treatment.float_product) continue;
    AcceleratorGraph* graph = nullptr;
    try {
      graph = &products.compiled(0, which, tokens, accelerator);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::unsupported) return -1;
      throw;
    }
    const std::vector<uint8_t> values(padded * product.linears.front().k(), 128);
    std::vector<std::vector<float>> results;
    std::vector<float*> outputs;
    for (const LinearWeights& linear : product.linears) {
      const size_t rows = (linear.rows() + kernels.tile_rows - 1) / kernels.tile_rows * kernels.tile_rows;
      outputs.push_back(results.emplace_back(padded * rows).data());
    }
    double least = 1e9;
    for (int round = 0; round < kRounds; ++round) {
      const Stopwatch clock;
      graph->run(values.data(), outputs);
      least = std::min(least, clock.seconds());
    }
    total += least;
  }
  return total;
}

}  // namespace

uint32_t profile_chunk(Products& products, Accelerator& accelerator, const kernels::StaticKernels& kernels,
                       uint32_t most) {
  std::vector<std::pair<uint32_t, double>> measured;
  double best = 1e9;
  for (const uint32_t tokens : kLengths) {
    if (tokens > most && !measured.empty()) break;
    const double seconds = layer_seconds(products, accelerator, kernels, std::min(tokens, most));
    if (seconds < 0) continue;
    measured.emplace_back(std::min(tokens, most), seconds / std::min(tokens, most));
    best = std::min(best, measured.back().second);
  }
  for (const auto& [tokens, seconds] : measured) {
    if (seconds <= kTolerance * best) return tokens;
  }
  fail(ErrorCode::unsupported, "device {} takes no chunk of 64 to 512 tokens", accelerator.traits().name);
}

}  // namespace cairn::offload
