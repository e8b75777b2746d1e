// Decode's matrix-vector product and dequantisation, for each encoding on each instruction set of this
// machine.
//
//   bench_gemv --benchmark_filter='gemv/q4_0'
//
// gemv/ENCODING/TARGET/memory streams weights many times the last cache's size; its `of_read` is the rate
// against a plain read of the same bytes just before. …/cache stays in the second-level cache:
// `cycles_per_32` are clock cycles for 32 weights. tokens/ENCODING/TARGET/COLUMNS/COUNT streams weights, too,
// for as many tokens at once; `times_one` is its time against one token's, just before. …/cache has its rows
// in the second-level cache, as many as decode multiplies at a time. Times are the threads' CPU time: others
// who use the machine disturb it less than the wall's.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <span>
#include <vector>

#include "base/buffer.hpp"
#include "compare_with_one.hpp"
#include "formats/encoding.hpp"
#include "formats/random_blocks.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/kernels.hpp"

namespace cairn::kernels {
namespace {

constexpr size_t kColumns = 2048;
constexpr size_t kMemoryBytes = size_t{256} << 20, kCacheBytes = size_t{256} << 10;

// The clock's rate, by a chain of additions of one cycle each.
double cycles_per_second() {
  double best = 0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const double start = thread_seconds();
    uint64_t x = 1;
    for (int i = 0; i < 10'000'000; ++i) {
      for (int j = 0; j < 4; ++j) {
        x += 1;
        benchmark::DoNotOptimize(x);
      }
    }
    best = std::max(best, 40e6 / (thread_seconds() - start));
  }
  return best;
}

// One copy for all benchmarks, as random blocks of the encoding whose turn it is: what an index looks up
// depends on its bits.
const std::vector<uint8_t>& memory(const EncodingInfo& e) {
  static std::vector<uint8_t> bytes(kMemoryBytes);
  static const EncodingInfo* filled = nullptr;
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  if (filled != &e) {
    const size_t whole = kMemoryBytes / e.block_bytes * e.block_bytes;
    RandomBlocks(1).fill(e.encoding, std::as_writable_bytes(std::span(bytes).first(whole)));
    filled = &e;
  }
  return bytes;
}

double read_bytes(const uint8_t* p, size_t bytes) {
  const double start = thread_seconds();
  uint64_t sums[8] = {};
  for (size_t i = 0; i + 64 <= bytes; i += 64) {
    uint64_t words[8];
    std::memcpy(words, p + i, 64);
    for (int j = 0; j < 8; ++j) sums[j] |= words[j];
  }
  benchmark::DoNotOptimize(sums);
  return thread_seconds() - start;
}

struct Activations {
  explicit Activations(size_t k) : values(k / 64), scales(k / kGroup, 0.01f), sums(k / kGroup, 0.1f) {
    for (auto& line : values) std::memset(line.bytes, 3, 64);
  }
  QuantizedVector view() const { return {values.data()->bytes, scales.data(), sums.data()}; }

  struct alignas(64) Line {
    int8_t bytes[64];
  };
  std::vector<Line> values;
  std::vector<float> scales, sums;
};

// The same activations for each token, as the encoding reads them.
struct Prepared {
  Prepared(const EncodingKernels& kernels, const Activations& x, size_t k, size_t count)
      : memory(kernels.prepared_bytes(k, count, false)), vectors(count, x.view()) {
    kernels.prepare({vectors.data(), nullptr, count}, k, memory.as<void>());
  }
  PreparedBatch view() const { return {memory.as<void>(), vectors.size(), false}; }

  Buffer memory;
  std::vector<QuantizedVector> vectors;
};

void gemv(benchmark::State& state, const EncodingInfo& e, Target target, bool from_memory) {
  static const double clock = cycles_per_second();
  const EncodingKernels& kernels = kernel_set(target).encoding(e.encoding);
  const size_t row_bytes = kColumns / e.block_elements * e.block_bytes;
  const size_t share = (from_memory ? kMemoryBytes : kCacheBytes) / static_cast<size_t>(state.threads());
  const size_t rows = share / row_bytes;
  const uint8_t* weights = memory(e).data() + static_cast<size_t>(state.thread_index()) * share;
  const Activations activations(kColumns);
  const Prepared x(kernels, activations, kColumns, 1);
  std::vector<float> y(rows);
  double seconds = 0, read_seconds = 0;
  for (auto _ : state) {
    if (from_memory) read_seconds += read_bytes(weights, rows * row_bytes);
    const double start = thread_seconds();
    kernels.gemv(weights, row_bytes, rows, kColumns, x.view(), y.data(), 0);
    const double elapsed = thread_seconds() - start;
    seconds += elapsed;
    state.SetIterationTime(elapsed);
  }
  const double iterations = static_cast<double>(state.iterations());
  using benchmark::Counter;
  // A thread's own figures, averaged; GB_s adds the threads up.
  state.counters["GB_s"] = 1e-9 * static_cast<double>(rows * row_bytes) * iterations / seconds;
  if (from_memory) {
    state.counters["of_read"] = Counter(read_seconds / seconds, Counter::kAvgThreads);
  } else {
    const double groups = static_cast<double>(rows * kColumns / kGroup) * iterations;
    state.counters["cycles_per_32"] = Counter(seconds * clock / groups, Counter::kAvgThreads);
  }
}

// Columns as in Qwen2.5-1.5B: those of its layers' inputs, and of the feed-forward network's inside.
constexpr size_t kTokenColumns[] = {1536, 8960};

void tokens(benchmark::State& state, const EncodingInfo& e, Target target, size_t columns) {
  const EncodingKernels& kernels = kernel_set(target).encoding(e.encoding);
  const size_t row_bytes = columns / e.block_elements * e.block_bytes;
  const size_t share = kMemoryBytes / static_cast<size_t>(state.threads()), rows = share / row_bytes;
  const uint8_t* weights = memory(e).data() + static_cast<size_t>(state.thread_index()) * share;
  const Activations activations(columns);
  const auto count = static_cast<size_t>(state.range(0));
  const Prepared one(kernels, activations, columns, 1), all(kernels, activations, columns, count);
  std::vector<float> y(rows * count);
  compare_with_one(state, count, [&](size_t how_many) {
    kernels.gemv(weights, row_bytes, rows, columns, how_many == 1 ? one.view() : all.view(), y.data(), rows);
  });
}

void tokens_in_cache(benchmark::State& state, const EncodingInfo& e, Target target, size_t columns) {
  static const double clock = cycles_per_second();
  const EncodingKernels& kernels = kernel_set(target).encoding(e.encoding);
  const size_t row_bytes = columns / e.block_elements * e.block_bytes;
  const size_t rows = std::max<size_t>(8, (96 << 10) / row_bytes / 8 * 8);
  const uint8_t* weights = memory(e).data();
  const Activations activations(columns);
  const auto count = static_cast<size_t>(state.range(0));
  const Prepared x(kernels, activations, columns, count);
  std::vector<float> y(rows * count);
  double seconds = 0;
  for (auto _ : state) {
    const double start = thread_seconds();
    kernels.gemv(weights, row_bytes, rows, columns, x.view(), y.data(), rows);
    const double elapsed = thread_seconds() - start;
    seconds += elapsed;
    state.SetIterationTime(elapsed);
  }
  const double groups =
      static_cast<double>(rows * columns / kGroup) * static_cast<double>(state.iterations());
  state.counters["cycles_per_32"] = seconds * clock / groups;
}

void dequantize(benchmark::State& state, const EncodingInfo& e, Target target) {
  static const double clock = cycles_per_second();
  const EncodingKernels& kernels = kernel_set(target).encoding(e.encoding);
  struct alignas(64) Line {
    float values[16];
  };
  std::vector<Line> out(kColumns / 16);
  const uint8_t* blocks = memory(e).data();
  const size_t calls = 100;
  double seconds = 0;
  for (auto _ : state) {
    const double start = thread_seconds();
    for (size_t i = 0; i < calls; ++i) kernels.dequantize(blocks, kColumns, out.data()->values);
    const double elapsed = thread_seconds() - start;
    seconds += elapsed;
    state.SetIterationTime(elapsed);
  }
  state.counters["weights_per_cycle"] =
      static_cast<double>(calls * kColumns) * static_cast<double>(state.iterations()) / (seconds * clock);
}

void add_benchmarks() {
  for (const EncodingInfo& e : encodings()) {
    for (const Target target : available_targets()) {
      const std::string suffix = fmt::format("{}/{}", e.name, name(target));
      const auto add = [&](const std::string& title, auto function) {
        return benchmark::RegisterBenchmark(title.c_str(), function)->UseManualTime();
      };
      add("dequantize/" + suffix, [&e, target](benchmark::State& s) { dequantize(s, e, target); });
      for (const bool from_memory : {false, true}) {
        add(fmt::format("gemv/{}/{}", suffix, from_memory ? "memory" : "cache"),
            [&e, target, from_memory](benchmark::State& s) { gemv(s, e, target, from_memory); })
            ->ThreadRange(1, 2)
            ->MinTime(0.1);
      }
      for (const size_t columns : kTokenColumns) {
        add(fmt::format("tokens/{}/{}", suffix, columns),
            [&e, target, columns](benchmark::State& s) { tokens(s, e, target, columns); })
            ->Arg(2)
            ->Arg(4)
            ->Arg(8)
            ->ThreadRange(1, 2)
            ->MinTime(0.1);
        add(fmt::format("tokens/{}/{}/cache", suffix, columns),
            [&e, target, columns](benchmark::State& s) { tokens_in_cache(s, e, target, columns); })
            ->RangeMultiplier(2)
            ->Range(1, 8)
            ->MinTime(0.1);
      }
    }
  }
}

}  // namespace
}  // namespace cairn::kernels

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  cairn::kernels::add_benchmarks();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
