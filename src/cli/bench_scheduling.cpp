#include "cli/bench_scheduling.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/byte_size.hpp"
#include "base/machine.hpp"
#include "base/progress.hpp"
#include "kernels/kernels.hpp"
#include "measure/benchmark_gap.hpp"
#include "measure/benchmark_restart.hpp"
#include "measure/benchmark_sequences.hpp"

namespace cairn::cli {
namespace {

void print_machine(const measure::BenchmarkOptions& options) {
  fmt::print("{}, {}; medians of {} rounds\n", processor_name(), kernels::name(kernels::default_target()),
             options.repeat);
}

nlohmann::ordered_json machine(const measure::BenchmarkOptions& options) {
  return {{"processor", processor_name()},
          {"instruction_set", kernels::name(kernels::default_target())},
          {"prompt", options.prompt},
          {"repeat", options.repeat}};
}

}  // namespace

void bench_sequences(const std::string& path, uint32_t sequences, const measure::BenchmarkOptions& options,
                     bool json) {
  measure::SequencesResult r;
  {
    Progress bar("bench", options.repeat, "rounds");
    r = measure::run_sequences(path, sequences, options, [&](uint32_t done, uint32_t) { bar.update(done); });
  }
  if (!json) {
    print_machine(options);
    fmt::print("{} sequences of {} tokens, {} more of each\n", sequences, options.prompt, options.generate);
    fmt::print("one after the other  {:8.1f} tok/s\ntogether             {:8.1f} tok/s   {:.2f}×\n",
               r.alone_tok_s, r.together_tok_s, r.ratio);
    return;
  }
  nlohmann::ordered_json all = machine(options);
  all["sequences"] = sequences;
  all["generate"] = options.generate;
  all["alone_tok_s"] = r.alone_tok_s;
  all["together_tok_s"] = r.together_tok_s;
  all["ratio"] = r.ratio;
  for (const measure::SequencesRound& round : r.rounds)
    all["rounds"].push_back({{"alone_tok_s", round.alone_tok_s}, {"together_tok_s", round.together_tok_s}});
  fmt::print("{}\n", all.dump(2));
}

void bench_gap(const std::string& path, uint32_t sequences, const measure::BenchmarkOptions& options,
               bool json) {
  measure::GapResult r;
  {
    Progress bar("bench", options.repeat, "rounds");
    r = measure::run_gap(path, sequences, options, [&](uint32_t done, uint32_t) { bar.update(done); });
  }
  if (!json) {
    print_machine(options);
    fmt::print("{} answer while {} tokens are read beside them\n", sequences, options.prompt);
    fmt::print("between two tokens  {:8.3f} s at most, {:.3f} in the middle\n", r.longest_s, r.median_s);
    fmt::print("a chunk of {:5}     {:8.3f} s: the longest is {:.2f} of it\n", r.chunk, r.chunk_s, r.ratio);
    return;
  }
  nlohmann::ordered_json all = machine(options);
  all["sequences"] = sequences;
  all["chunk"] = r.chunk;
  all["longest_s"] = r.longest_s;
  all["median_s"] = r.median_s;
  all["chunk_s"] = r.chunk_s;
  all["ratio"] = r.ratio;
  for (const measure::GapRound& round : r.rounds) {
    all["rounds"].push_back(
        {{"longest_s", round.longest_s}, {"median_s", round.median_s}, {"chunk_s", round.chunk_s}});
  }
  fmt::print("{}\n", all.dump(2));
}

void bench_restart(const std::string& path, const measure::BenchmarkOptions& options, bool json) {
  measure::RestartResult r;
  {
    Progress bar("bench", options.repeat, "rounds");
    r = measure::run_restart(path, options, [&](uint32_t done, uint32_t) { bar.update(done); });
  }
  if (!json) {
    print_machine(options);
    fmt::print("{} tokens to the first token  {:8.3f} s\n", options.prompt, r.first_s);
    fmt::print("after a restart, {} of them on disk ({})  {:8.3f} s   {:.1f} %\n", r.cached_tokens,
               mebibytes(r.bytes), r.again_s, 100 * r.ratio);
    return;
  }
  nlohmann::ordered_json all = machine(options);
  all["cached_tokens"] = r.cached_tokens;
  all["bytes"] = r.bytes;
  all["first_s"] = r.first_s;
  all["again_s"] = r.again_s;
  all["ratio"] = r.ratio;
  for (const measure::RestartRound& round : r.rounds)
    all["rounds"].push_back({{"first_s", round.first_s}, {"again_s", round.again_s}});
  fmt::print("{}\n", all.dump(2));
}

}  // namespace cairn::cli
