// The matrix product of prefill at Qwen1.5-1.8B's shapes, for each encoding: with the panels ready, as a
// fraction of the machine's own peak, measured before and after each run, and the share of the time that
// filling the panels takes. Prints one line a shape and, last, the median of all.
//   bench_gemm [--threads 2] [--tokens 512] [encoding…]
#include <fmt/format.h>

#include <algorithm>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "base/machine.hpp"
#include "base/thread_pool.hpp"
#include "kernels/gemm.hpp"
#include "kernels/kernel_set.hpp"
#include "measure/peaks.hpp"

namespace {

using namespace cairn;

constexpr size_t kPanelBytes = 192 << 10;  // as the CPU device blocks them
constexpr int kRounds = 5;

// Random blocks whose halves are moderate: every fourth byte of a float is all that matters of it.
std::vector<uint8_t> random_rows(const EncodingInfo& e, size_t elements) {
  std::vector<uint8_t> rows(elements / e.block_elements * e.block_bytes);
  std::mt19937 random(1);
  for (uint8_t& byte : rows) byte = static_cast<uint8_t>(random() & 0x3B);
  return rows;
}

struct Panels {
  Panels(const kernels::GemmKernels& gemm, const kernels::EncodingKernels& encoding, size_t rows, size_t k)
      : value_bytes(gemm.value_bytes(encoding.form)),
        values(rows * k * value_bytes),
        corrections(rows * k / 32),
        scales(rows * k / 16),
        offsets(rows * k / 16) {}
  kernels::WeightPanel at(size_t row, size_t k) {
    return {&values[row * k * value_bytes], &corrections[row * k / 32], &scales[row * k / 16],
            &offsets[row * k / 16]};
  }
  size_t value_bytes;
  std::vector<int8_t> values;
  std::vector<int32_t> corrections;
  std::vector<float> scales, offsets;
};

// Median over the rounds of this product's rate over the peak at that moment.
double measure_one(ThreadPool& pool, kernels::Target target, const EncodingInfo& e, size_t rows, size_t k,
                   size_t tokens) {
  const kernels::GemmKernels& gemm = kernels::kernel_set(target).gemm;
  const kernels::EncodingKernels& encoding = kernels::kernel_set(target).encoding(e.encoding);
  rows = rows / gemm.tile_rows * gemm.tile_rows;
  const size_t lanes = gemm.tile_tokens, tiles = tokens / lanes, tile_bytes = activation_bytes(gemm, k);
  const size_t row_bytes = k / e.block_elements * e.block_bytes;
  const std::vector<uint8_t> blocks = random_rows(e, rows * k);
  Panels panels(gemm, encoding, rows, k);
  std::vector<float> x(k * lanes, 0.5f), out(rows * tokens), memory(tiles * tile_bytes / 4 + 16);
  auto* begin = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(memory.data()) + 63) / 64 * 64);
  const auto tile = [&](size_t i) { return activation_tile(gemm, begin + i * tile_bytes, k); };
  for (size_t i = 0; i < tiles; ++i) gemm.quantize_tile(x.data(), k, tile(i));
  const size_t block =
      std::max(gemm.tile_rows, kPanelBytes / (k * panels.value_bytes) / gemm.tile_rows * gemm.tile_rows);
  const auto for_blocks = [&](const auto& body) {
    pool.run((rows + block - 1) / block,
             [&](size_t, size_t task) { body(task * block, std::min(block, rows - task * block)); });
  };
  const auto fill = [&](size_t row, size_t n) {
    encoding.fill_panel(blocks.data() + row * row_bytes, row_bytes, n, k, panels.at(row, k));
  };
  const auto product = [&](size_t row, size_t n) {
    for (size_t i = 0; i < tiles; ++i)
      gemm.multiply(encoding.form, panels.at(row, k), n, k, tile(i), &out[i * rows * lanes + row * lanes]);
  };
  const double operations =
      2.0 * static_cast<double>(rows) * static_cast<double>(k) * static_cast<double>(tokens);
  const bool codes = encoding.form != kernels::PanelForm::values8;
  const int repeat = std::max(1, static_cast<int>(1e10 / operations));
  std::vector<double> fractions, rates, shares;
  for_blocks(fill);
  for_blocks(product);
  for (int round = 0; round < kRounds; ++round) {
    const double before = measure::int8_gops(pool, target, codes, 0.02);
    Stopwatch watch;
    for (int i = 0; i < repeat; ++i) for_blocks(product);
    const double seconds = watch.seconds();
    watch.restart();
    for (int i = 0; i < repeat; ++i) for_blocks(fill);
    const double filling = watch.seconds();
    shares.push_back(filling / (seconds + filling));
    rates.push_back(operations * repeat / seconds * 1e-9);
    fractions.push_back(rates.back() / ((before + measure::int8_gops(pool, target, codes, 0.02)) / 2));
  }
  for (std::vector<double>* each : {&fractions, &rates, &shares}) std::sort(each->begin(), each->end());
  fmt::print("{:6} {:5} rows × {:5}, {:3} tokens: {:5.0f} GOP/s, {:4.1f} % of the peak; filling {:4.1f} %\n",
             e.name, rows, k, tokens, rates[kRounds / 2], 100 * fractions[kRounds / 2],
             100 * shares[kRounds / 2]);
  return fractions[kRounds / 2];
}

}  // namespace

int main(int count, char** arguments) {
  size_t threads = 2, tokens = 512;
  std::vector<const EncodingInfo*> wanted;
  for (int i = 1; i < count; ++i) {
    const std::string_view argument = arguments[i];
    if (argument == "--threads" && i + 1 < count) {
      threads = std::stoul(arguments[++i]);
    } else if (argument == "--tokens" && i + 1 < count) {
      tokens = std::stoul(arguments[++i]);
    } else if (const EncodingInfo* e = find_encoding(argument); e != nullptr) {
      wanted.push_back(e);
    } else {
      fmt::print(stderr, "usage: bench_gemm [--threads N] [--tokens N] [encoding…]\n");
      return 2;
    }
  }
  if (wanted.empty()) {
    for (const char* name : {"q4_0", "q4_k", "q5_0", "q6_k", "q8_0", "f16"})
      wanted.push_back(find_encoding(name));
  }
  ThreadPool pool(threads);
  const kernels::Target target = kernels::default_target();
  fmt::print("{}, {}, {} threads\n", processor_name(), kernels::name(target), threads);
  std::vector<double> all;
  for (const EncodingInfo* e : wanted) {
    for (const auto& [rows, k] : {std::pair<size_t, size_t>{2048, 2048}, {5504, 2048}, {2048, 5632}})
      all.push_back(measure_one(pool, target, *e, rows, k, tokens));
  }
  std::sort(all.begin(), all.end());
  fmt::print("median {:.1f} % of the peak\n", 100 * all[all.size() / 2]);
}
