// A step of several tokens against a step of one, for a whole model on the CPU.
//
//   bench_rows MODEL [THREADS]
//
// Steps of 1, 2, 4 and 8 tokens of one sequence take turns behind a prompt of 64 tokens, which truncate()
// goes back to; the times are medians. This is what checking a draft costs, and decoding so many sequences at
// once but for their attention.
#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <cstring>
#include <exception>
#include <map>
#include <vector>

#include "backends/cpu/engine.hpp"
#include "base/error.hpp"
#include "formats/gguf.hpp"
#include "kernels/kernels.hpp"
#include "measure/median.hpp"

namespace cairn {
namespace {

constexpr uint32_t kPrompt = 64, kTurns = 25;
constexpr size_t kRows[] = {1, 2, 4, 8};

void run(const char* path, uint32_t threads) {
  const auto engine = cpu::make_engine(gguf::File(path), {.context = 256, .threads = threads});
  const uint32_t vocabulary = engine->model().parameters.vocabulary;
  const auto sequence = engine->make_sequence();
  std::vector<int32_t> tokens(kPrompt);
  for (uint32_t i = 0; i < kPrompt; ++i) tokens[i] = static_cast<int32_t>((i * 7919 + 13) % vocabulary);
  std::vector<float> logits(std::size(kRows) * 2 * size_t{vocabulary});
  engine->step({sequence.get(), tokens, engine::Logits::none, nullptr});
  std::map<size_t, std::vector<double>> seconds;
  for (uint32_t turn = 0; turn < kTurns; ++turn) {
    for (const size_t rows : kRows) {
      const auto start = std::chrono::steady_clock::now();
      engine->step({sequence.get(), std::span(tokens).first(rows), engine::Logits::all, logits.data()});
      const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
      seconds[rows].push_back(passed.count());
      sequence->truncate(kPrompt);
    }
  }
  const double one = measure::median(seconds[1]);
  fmt::print("{}, {}\n", path, kernels::name(kernels::default_target()));
  for (const auto& [rows, times] : seconds)
    fmt::print("{} rows {:8.2f} ms {:6.2f}×\n", rows, 1e3 * measure::median(times),
               measure::median(times) / one);
}

}  // namespace
}  // namespace cairn

int main(int argc, char** argv) {
  uint32_t threads = 0;
  if (argc > 2) std::from_chars(argv[2], argv[2] + std::strlen(argv[2]), threads);
  if (argc < 2) {
    fmt::print(stderr, "usage: bench_rows MODEL [THREADS]\n");
    return 2;
  }
  try {
    cairn::run(argv[1], threads);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
