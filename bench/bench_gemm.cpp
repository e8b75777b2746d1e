// The matrix product of prefill at Qwen1.5-1.8B's shapes with the panels ready, as a fraction of the
// machine's own peak, measured before and after each run. Prints one line a shape and, last, the median of
// all.
//   bench_gemm [--threads 2]
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/machine.hpp"
#include "base/thread_pool.hpp"
#include "kernels/gemm.hpp"
#include "llm/peaks.hpp"

namespace {

using namespace cairn;

constexpr size_t kPanelBytes = 192 << 10;  // as the CPU device blocks them
constexpr int kRounds = 7;

struct Panels {
  Panels(const kernels::GemmKernels& gemm, bool codes4, size_t rows, size_t k)
      : values(rows * k), corrections(rows * k / 32), scales(rows * k / 32), offsets(rows * k / 32) {
    std::mt19937 random(1);
    std::vector<float> row(k);
    std::vector<uint8_t> codes(k);
    for (size_t r = 0; r < rows; ++r) {
      const size_t group = r * k / 32;
      if (codes4) {
        for (uint8_t& code : codes) code = static_cast<uint8_t>(random() & 15);
        std::fill_n(&scales[group], k / 32, 0.01f);
        std::fill_n(&offsets[group], k / 32, -0.08f);
        gemm.fill_codes4(k, codes.data(), &scales[group], &corrections[group], &offsets[group]);
        std::memcpy(&values[r * k], codes.data(), k);
      } else {
        for (float& w : row) w = static_cast<float>(random() % 2001) * 1e-3f - 1;
        gemm.fill_floats(row.data(), k, &values[r * k], &corrections[group], &scales[group]);
      }
    }
  }
  kernels::WeightPanel at(size_t row, size_t k) {
    return {&values[row * k], &corrections[row * k / 32], &scales[row * k / 32], &offsets[row * k / 32]};
  }
  std::vector<int8_t> values;
  std::vector<int32_t> corrections;
  std::vector<float> scales, offsets;
};

// Median over the rounds of this product's rate over the peak at that moment.
double measure(ThreadPool& pool, kernels::Target target, bool codes4, size_t rows, size_t k, size_t tokens) {
  const kernels::GemmKernels& gemm = kernels::gemm_kernels(target);
  rows = rows / gemm.tile_rows * gemm.tile_rows;
  const size_t lanes = gemm.tile_tokens, tiles = tokens / lanes;
  Panels panels(gemm, codes4, rows, k);
  std::vector<float> x(k * tokens, 0.5f), out(rows * tokens);
  std::vector<uint8_t> values(k * tokens);
  std::vector<float> scales(k / 32 * tokens), sums(k / 32 * tokens);
  const auto tile = [&](size_t i) {
    return kernels::ActivationTile{&values[i * k * lanes], &scales[i * k / 32 * lanes],
                                   &sums[i * k / 32 * lanes]};
  };
  for (size_t i = 0; i < tiles; ++i) gemm.quantize_tile(&x[i * k * lanes], k, tile(i));
  const size_t block = std::max(gemm.tile_rows, kPanelBytes / k / gemm.tile_rows * gemm.tile_rows);
  const auto form = codes4 && gemm.uses_codes4 ? kernels::PanelForm::codes4 : kernels::PanelForm::values8;
  const auto product = [&] {
    pool.run((rows + block - 1) / block, [&](size_t, size_t task) {
      const size_t row = task * block, n = std::min(block, rows - row);
      for (size_t i = 0; i < tiles; ++i) {
        gemm.multiply(form, panels.at(row, k), n, k, tile(i), &out[i * rows * lanes + row * lanes]);
      }
    });
  };
  const double operations =
      2.0 * static_cast<double>(rows) * static_cast<double>(k) * static_cast<double>(tokens);
  std::vector<double> fractions, rates;
  product();
  for (int round = 0; round < kRounds; ++round) {
    const double before = llm::int8_gops(pool, target, codes4, 0.02);
    const int repeat = std::max(1, static_cast<int>(2e10 / operations));
    const Stopwatch watch;
    for (int i = 0; i < repeat; ++i) product();
    rates.push_back(operations * repeat / watch.seconds() * 1e-9);
    fractions.push_back(rates.back() / ((before + llm::int8_gops(pool, target, codes4, 0.02)) / 2));
  }
  std::sort(fractions.begin(), fractions.end());
  std::sort(rates.begin(), rates.end());
  fmt::print("{:5} rows × {:5}, {:3} tokens, {}: {:5.0f} GOP/s, {:4.1f} % of the peak\n", rows, k, tokens,
             codes4 ? "4-bit codes" : "8-bit values", rates[kRounds / 2], 100 * fractions[kRounds / 2]);
  return fractions[kRounds / 2];
}

}  // namespace

int main(int count, char** arguments) {
  size_t threads = 2;
  if (count == 3 && std::string(arguments[1]) == "--threads") threads = std::stoul(arguments[2]);
  ThreadPool pool(threads);
  const kernels::Target target = kernels::default_target();
  fmt::print("{}, {}, {} threads\n", processor_name(), kernels::name(target), threads);
  std::vector<double> all;
  for (const bool codes4 : {false, true}) {
    for (const size_t tokens : {256, 512}) {
      for (const auto& [rows, k] : {std::pair<size_t, size_t>{2048, 2048}, {5504, 2048}, {2048, 5504}}) {
        all.push_back(measure(pool, target, codes4, rows, k, tokens));
      }
    }
  }
  std::sort(all.begin(), all.end());
  fmt::print("median {:.1f} % of the peak\n", 100 * all[all.size() / 2]);
}
