// Prefill's attention of one kv head over a whole prompt, tile by tile, on one thread: 16-bit integers (an
// f16 cache) against float (an f32 cache of the same numbers), at the shapes of known models. Prints the
// rates, what the integers gain, and how far their results are from float's.
//   bench_attention [--target avx2] [--tiles 2] [--model smollm2-135m]
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/clock.hpp"
#include "base/machine.hpp"
#include "kernels/gemm.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/kernels.hpp"
#include "kernels/vector.hpp"

namespace {

using namespace cairn;

constexpr int kRounds = 7;

struct Cache {
  Cache(const kernels::AttentionKernels& kernels, kernels::KvFormat kind, const std::vector<float>& x,
        size_t head_size)
      : format(kind), bytes(x.size() * 4) {
    const size_t row = head_size * (kind == kernels::KvFormat::f32 ? 4 : 2);
    for (size_t i = 0; i < x.size() / head_size; ++i)
      kernels.store_row(kind, &x[i * head_size], head_size, &bytes[i * row], nullptr);
    for (size_t i = 0; i < x.size() / head_size; i += kernels::kPagePositions)
      pages.push_back(&bytes[i * row]);
  }
  kernels::KvRows rows() const { return {format, pages.data(), 0, 0}; }
  kernels::KvFormat format;
  std::vector<std::byte> bytes;
  std::vector<const std::byte*> pages;
};

void measure(kernels::Target target, std::string_view model, size_t head_size, size_t group, size_t positions,
             size_t tiles) {
  const kernels::AttentionKernels& kernels = kernels::kernel_set(target).attention;
  const size_t lanes = kernels::kernel_set(target).gemm.tile_tokens, tile = group * head_size * lanes;
  const kernels::AttentionShape shape{head_size, group, 1 / std::sqrt(static_cast<float>(head_size)), 0, 0};
  if (tiles == 0) tiles = std::clamp<size_t>(6 / group, 1, kernels::kMostQueryTiles);  // as the CPU device
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> keys(positions * head_size), values(keys.size()), queries(positions / lanes * tile);
  // Multiples of 1/128, which f16 holds exactly: the error is that of the integers alone.
  for (std::vector<float>* x : {&keys, &values, &queries})
    for (float& v : *x) v = std::round(normal(random) * 128) / 128;
  std::vector<float> scratch(kernels.tiles_scratch(shape, tiles) + 16);
  float* aligned = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64) % 64 / 4;

  const kernels::KvFormat formats[] = {kernels::KvFormat::f16, kernels::KvFormat::f32};
  std::vector<float> out[2];
  double rates[2];
  std::vector<double> all[2];
  const double operations = 2.0 * 2 * static_cast<double>(head_size * group) *
                            static_cast<double>(positions) * static_cast<double>(positions) / 2;
  const Cache caches[2][2] = {
      {{kernels, formats[0], keys, head_size}, {kernels, formats[0], values, head_size}},
      {{kernels, formats[1], keys, head_size}, {kernels, formats[1], values, head_size}}};
  for (int round = 0; round < kRounds; ++round) {
    for (int which = 0; which < 2; ++which) {
      out[which].resize(queries.size());
      const int repeat = std::max(1, static_cast<int>(4e9 / operations));
      const Stopwatch watch;
      for (int i = 0; i < repeat; ++i) {
        for (size_t first = 0; first < positions; first += tiles * lanes) {
          kernels.tiles({shape, caches[which][0].rows(), caches[which][1].rows(),
                         static_cast<uint32_t>(first), std::min(tiles * lanes, positions - first),
                         &queries[first / lanes * tile], &out[which][first / lanes * tile], tile},
                        aligned);
        }
      }
      all[which].push_back(operations * repeat / watch.seconds() * 1e-9);
    }
  }
  double error = 0, size = 0;
  for (size_t i = 0; i < out[0].size(); ++i) {
    error += std::pow(static_cast<double>(out[0][i]) - out[1][i], 2);
    size += std::pow(static_cast<double>(out[1][i]), 2);
  }
  for (int which = 0; which < 2; ++which) {
    std::sort(all[which].begin(), all[which].end());
    rates[which] = all[which][kRounds / 2];
  }
  fmt::print("{:16} {:3} × {}, {:4} tokens: {:5.0f} GOP/s, float {:5.0f}, {:4.2f} times; error {:.1e}\n",
             model, head_size, group, positions, rates[0], rates[1], rates[0] / rates[1],
             std::sqrt(error / size));
}

}  // namespace

int main(int count, char** arguments) {
  std::string_view wanted;
  size_t tiles = 0;
  for (int i = 1; i + 1 < count; i += 2) {
    if (std::string_view(arguments[i]) == "--target") setenv("CAIRN_TARGET", arguments[i + 1], 1);
    if (std::string_view(arguments[i]) == "--tiles") tiles = std::stoul(arguments[i + 1]);
    if (std::string_view(arguments[i]) == "--model") wanted = arguments[i + 1];
  }
  const kernels::Target target = kernels::default_target();
  fmt::print("{}, {}, one thread; operations of the visible half; error: rms, relative\n", processor_name(),
             kernels::name(target));
  for (const size_t positions : {512, 2048}) {
    for (const auto& [model, head_size, group] :
         {std::tuple<std::string_view, size_t, size_t>{"smollm2-135m", 64, 3},
          {"gemma3-270m", 256, 4},
          {"qwen1.5-1.8b", 128, 1},
          {"mistral-7b", 128, 4},
          {"phi-2", 80, 1}}) {
      if (wanted.empty() || wanted == model) measure(target, model, head_size, group, positions, tiles);
    }
  }
}
