// Products with bit planes against this engine's Q4_0 and Q8_0, on each instruction set of this machine.
//
//   bench_planes --benchmark_filter=avx512vnni
//
// gemv/LEVEL/TARGET/{cache,memory}: cycles for 32 weights by the thread's own clock, and weights a
// nanosecond; q4_0 stands beside them. tokens/LEVEL/TARGET/COUNT: from memory for as many tokens at once;
// `times_one` is its time against one token's, just before. fill: unpacking a tile for prefill; multiply:
// prefill's product of a panel of 96 rows with 512 tokens, filling included, against the engine's Q8_0 form
// of the same.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/buffer.hpp"
#include "compare_with_one.hpp"
#include "formats/encoding.hpp"
#include "kernels/gemm.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/planes.hpp"
#include "kernels/static_int8.hpp"

namespace cairn::kernels {
namespace {

constexpr size_t kColumns = 2048;
constexpr size_t kMemory = size_t{192} << 20, kCache = size_t{192} << 10;
constexpr size_t kTokens = 512;

struct alignas(64) Line {
  uint8_t bytes[64];
};

const Line* memory() {
  static const std::vector<Line> lines = [] {
    std::vector<Line> all(kMemory / 64);
    uint32_t state = 1;
    for (Line& line : all) {
      for (uint8_t& byte : line.bytes) {
        state = state * 1664525 + 1013904223;
        byte = static_cast<uint8_t>(state >> 24) & 0x3B;  // halves among them are small and finite
      }
    }
    return all;
  }();
  return lines.data();
}

// Groups of 8 tiles, planes of a group apart from each other as in a stack.
struct Planes {
  Planes(uint32_t level, size_t bytes) {
    constexpr uint32_t kTiles = 8;
    const size_t plane = kTiles * kColumns / 32 * 64;
    const auto* base = reinterpret_cast<const std::byte*>(memory());
    const size_t groups = std::max<size_t>(1, bytes / (plane * level));
    const size_t apart = groups * plane;
    for (size_t g = 0; g < groups; ++g) {
      PlaneRows rows{};
      rows.level = level;
      rows.tiles = kTiles;
      rows.scales = reinterpret_cast<const uint16_t*>(base);
      for (uint32_t p = 0; p < level; ++p) rows.planes[p] = base + p * apart + g * plane;
      list.push_back(rows);
    }
    int8_t values[128];
    for (int i = 0; i < 128; ++i) values[i] = static_cast<int8_t>(2 * i - 127);
    table = make_plane_table(level, values);
  }
  double weights() const { return static_cast<double>(list.size()) * 128 * kColumns; }
  std::vector<PlaneRows> list;
  PlaneTable table{};
};

void report(benchmark::State& state, double seconds, double weights) {
  const double all = weights * static_cast<double>(state.iterations());
  state.counters["weights_per_ns"] = 1e-9 * all / seconds;
}

void gemv(benchmark::State& state, uint32_t level, Target target, bool from_memory) {
  const PlaneKernels& kernels = kernel_set(target).planes;
  const Planes planes(level, from_memory ? kMemory : kCache);
  std::vector<float> x(kColumns, 0.5F), y(128);
  for (size_t i = 0; i < kColumns; ++i) x[i] = static_cast<float>(i % 17) - 8;
  std::vector<Line> room(2 * kColumns / 64);
  const PlaneVector input =
      kernels.quantize(x.data(), kColumns, reinterpret_cast<int8_t*>(room.data()), room[kColumns / 64].bytes);
  double seconds = 0;
  for (auto _ : state) {
    const double start = thread_seconds();
    for (size_t i = 0; i < planes.list.size(); ++i) {
      const PlaneRows& next = planes.list[std::min(i + 1, planes.list.size() - 1)];
      kernels.gemv(planes.list[i], planes.table, kColumns, input, next, y.data());
    }
    const double elapsed = thread_seconds() - start;
    seconds += elapsed;
    state.SetIterationTime(elapsed);
    benchmark::DoNotOptimize(y.data());
  }
  report(state, seconds, planes.weights());
}

void tokens(benchmark::State& state, uint32_t level, Target target) {
  const PlaneKernels& kernels = kernel_set(target).planes;
  const size_t threads = static_cast<size_t>(state.threads()), count = static_cast<size_t>(state.range(0));
  const Planes planes(level, kMemory);
  const size_t groups = planes.list.size() / threads,
               first = groups * static_cast<size_t>(state.thread_index());
  std::vector<float> x(kColumns, 0.5F), y(128 * count);
  for (size_t i = 0; i < kColumns; ++i) x[i] = static_cast<float>(i % 17) - 8;
  std::vector<Line> room(2 * kColumns / 64);
  const std::vector<PlaneVector> inputs(
      count, kernels.quantize(x.data(), kColumns, reinterpret_cast<int8_t*>(room.data()),
                              room[kColumns / 64].bytes));
  compare_with_one(state, count, [&](size_t how_many) {
    for (size_t i = first; i < first + groups; ++i) {
      const PlaneRows& next = planes.list[std::min(i + 1, planes.list.size() - 1)];
      kernels.gemv_batch(planes.list[i], planes.table, kColumns, inputs.data(), how_many, next, y.data(),
                         128);
    }
  });
}

void gemv_q4_0(benchmark::State& state, Target target, bool from_memory) {
  const EncodingKernels& kernels = kernel_set(target).encoding(Encoding::q4_0);
  const size_t row_bytes = kColumns / 32 * 18, rows = (from_memory ? kMemory : kCache) / row_bytes;
  std::vector<Line> values(kColumns / 64);
  for (Line& line : values) std::memset(line.bytes, 3, 64);
  std::vector<float> scales(kColumns / kGroup, 0.01F), sums(kColumns / kGroup, 0.1F), y(rows);
  const QuantizedVector x{reinterpret_cast<int8_t*>(values.data()), scales.data(), sums.data()};
  const Buffer prepared(kernels.prepared_bytes(kColumns, 1, false));
  kernels.prepare({&x, nullptr, 1}, kColumns, prepared.as<void>());
  double seconds = 0;
  for (auto _ : state) {
    const double start = thread_seconds();
    kernels.gemv(memory(), row_bytes, rows, kColumns, {prepared.as<void>(), 1, false}, y.data(), 0);
    const double elapsed = thread_seconds() - start;
    seconds += elapsed;
    state.SetIterationTime(elapsed);
  }
  report(state, seconds, static_cast<double>(rows) * kColumns);
}

constexpr size_t kPanelTiles = 6;

void multiply(benchmark::State& state, uint32_t level, Target target) {
  const PlaneKernels& kernels = kernel_set(target).planes;
  const size_t lanes = kernels.tile_tokens, tiles = kTokens / lanes, rows = kPanelTiles * kPlaneRows;
  const Planes planes(level, kCache);
  std::vector<Line> panel(rows * kColumns / 64), values(kTokens * kColumns / 64);
  for (Line& line : values) std::memset(line.bytes, 131, 64);
  std::vector<int32_t> corrections(rows);
  std::vector<float> scales(rows), lane_scales(lanes, 0.1F), out(rows * kTokens);
  uint32_t destination[kPlaneRows];
  for (uint32_t r = 0; r < kPlaneRows; ++r) destination[r] = r;
  auto* weights = reinterpret_cast<int8_t*>(panel.data());
  double seconds = 0;
  for (auto _ : state) {
    const double start = thread_seconds();
    for (uint32_t t = 0; t < kPanelTiles; ++t) {
      kernels.fill(planes.list[0], t, planes.table, kColumns, weights + t * kPlaneRows * kColumns,
                   corrections.data() + t * kPlaneRows);
      kernels.scales(planes.list[0], t, scales.data() + t * kPlaneRows);
    }
    for (size_t i = 0; i < tiles; ++i) {
      for (size_t t = 0; t < kPanelTiles; ++t) {
        kernels.multiply({weights + t * kPlaneRows * kColumns, corrections.data() + t * kPlaneRows,
                          scales.data() + t * kPlaneRows, destination, kColumns},
                         reinterpret_cast<const uint8_t*>(values.data()) + i * kColumns * lanes,
                         lane_scales.data(), nullptr, out.data() + (i * rows + t * kPlaneRows) * lanes);
      }
    }
    const double elapsed = thread_seconds() - start;
    seconds += elapsed;
    state.SetIterationTime(elapsed);
  }
  state.counters["GOP_s"] = 2e-9 * static_cast<double>(rows * kColumns * kTokens) *
                            static_cast<double>(state.iterations()) / seconds;
}

void multiply_q8_0(benchmark::State& state, Target target) {
  const GemmKernels& kernels = kernel_set(target).gemm;
  const EncodingKernels& encoding = kernel_set(target).encoding(Encoding::q8_0);
  const size_t lanes = kernels.tile_tokens, tiles = kTokens / lanes, rows = kPanelTiles * kPlaneRows;
  const size_t groups = kColumns / kGroup, row_bytes = groups * 34;
  const size_t tile_bytes = activation_bytes(kernels, kColumns);
  std::vector<Line> panel(rows * kColumns * kernels.value_bytes(encoding.form) / 64),
      values(tiles * tile_bytes / 64);
  std::vector<int32_t> corrections(rows * groups);
  std::vector<float> scales(rows * groups), offsets(rows * groups), x(kColumns * lanes, 0.3F),
      out(rows * kTokens);
  const WeightPanel all{reinterpret_cast<int8_t*>(panel.data()), corrections.data(), scales.data(),
                        offsets.data()};
  for (size_t i = 0; i < tiles; ++i) {
    auto* tile = reinterpret_cast<uint8_t*>(values.data()) + i * tile_bytes;
    kernels.quantize_tile(x.data(), kColumns, activation_tile(kernels, tile, kColumns));
  }
  double seconds = 0;
  for (auto _ : state) {
    const double start = thread_seconds();
    encoding.fill_panel(memory(), row_bytes, rows, kColumns, all);
    for (size_t i = 0; i < tiles; ++i) {
      auto* tile = reinterpret_cast<uint8_t*>(values.data()) + i * tile_bytes;
      kernels.multiply(encoding.form, all, rows, kColumns, activation_tile(kernels, tile, kColumns),
                       out.data() + i * rows * lanes);
    }
    const double elapsed = thread_seconds() - start;
    seconds += elapsed;
    state.SetIterationTime(elapsed);
  }
  state.counters["GOP_s"] = 2e-9 * static_cast<double>(rows * kColumns * kTokens) *
                            static_cast<double>(state.iterations()) / seconds;
}

void add_benchmarks() {
  for (const Target target : available_targets()) {
    const auto add = [&](const std::string& title, auto function) {
      return benchmark::RegisterBenchmark(fmt::format("{}/{}", title, name(target)).c_str(), function)
          ->UseManualTime()
          ->MinTime(0.15);
    };
    for (const bool from_memory : {false, true}) {
      const char* where = from_memory ? "memory" : "cache";
      add(fmt::format("gemv_{}/q4_0", where),
          [=](benchmark::State& s) { gemv_q4_0(s, target, from_memory); });
      for (uint32_t level = 1; level <= kMostPlanes; ++level) {
        add(fmt::format("gemv_{}/{}", where, level),
            [=](benchmark::State& s) { gemv(s, level, target, from_memory); });
      }
    }
    for (uint32_t level = 1; level <= kMostPlanes; ++level) {
      add(fmt::format("tokens/{}", level), [=](benchmark::State& s) { tokens(s, level, target); })
          ->Arg(2)
          ->Arg(4)
          ->Arg(8)
          ->ThreadRange(1, 2);
    }
    add("multiply/q8_0", [=](benchmark::State& s) { multiply_q8_0(s, target); });
    for (uint32_t level = 1; level <= kMostPlanes; ++level)
      add(fmt::format("multiply/{}", level), [=](benchmark::State& s) { multiply(s, level, target); });
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
