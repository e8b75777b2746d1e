#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/machine.hpp"
#include "base/progress.hpp"
#include "cli/bench_scheduling.hpp"
#include "cli/bench_simulate.hpp"
#include "cli/commands.hpp"
#include "cli/parser/values.hpp"
#include "cli/prefill_flags.hpp"
#include "cli/session_flags.hpp"
#include "cli/speculate_flag.hpp"
#include "cli/standard_io.hpp"
#include "measure/benchmark.hpp"
#include "store/model_store.hpp"

namespace cairn::cli {
namespace {

struct Options {
  std::string model, precision = "standard", question;
  bool peak = false, json = false, restart = false, gap = false;
  uint32_t sequences = 0;  // that decode together; 0: the usual figures
  PrefillFlags prefill;
  SpeculateFlag speculate;
  measure::BenchmarkOptions bench;
  SimulateFlags simulate;
};

void print_peaks(const Options& options) {
  ThreadPool pool(options.bench.engine.threads == 0 ? usable_processors() : options.bench.engine.threads);
  const measure::MachinePeaks p = measure::measure_peaks(pool, kernels::default_target());
  if (options.json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"processor", processor_name()},
                                              {"instruction_set", kernels::name(p.target)},
                                              {"threads", p.threads},
                                              {"int8_gops", p.int8_gops},
                                              {"int8_instructions", p.int8_instructions},
                                              {"int8_codes4_gops", p.int8_codes4_gops},
                                              {"int8_codes4_instructions", p.int8_codes4_instructions},
                                              {"bf16_gflops", p.bf16_gflops},
                                              {"bf16_instructions", p.bf16_instructions},
                                              {"fp32_gflops", p.fp32_gflops},
                                              {"fp32_instructions", p.fp32_instructions},
                                              {"read_gb_s", p.read_gb_s}}
                           .dump(2));
    return;
  }
  fmt::print("{}, {}, {} threads\n", processor_name(), kernels::name(p.target), p.threads);
  fmt::print("int8            {:8.0f} GOP/s    {}\n", p.int8_gops, p.int8_instructions);
  fmt::print("int8 × 4 bits   {:8.0f} GOP/s    {}\n", p.int8_codes4_gops, p.int8_codes4_instructions);
  if (p.bf16_gflops > 0) {
    fmt::print("bf16            {:8.0f} GFLOP/s  {}\n", p.bf16_gflops, p.bf16_instructions);
  } else {
    fmt::print("bf16                   – no bf16 products in this instruction set\n");
  }
  fmt::print("fp32            {:8.0f} GFLOP/s  {}\n", p.fp32_gflops, p.fp32_instructions);
  fmt::print("memory, read    {:8.1f} GB/s\n", p.read_gb_s);
}

void print_json(const Options& options, const measure::BenchmarkResult& r) {
  nlohmann::ordered_json json{{"processor", processor_name()},
                              {"instruction_set", kernels::name(kernels::default_target())},
                              {"device", r.device.empty() ? "cpu" : r.device},
                              {"prompt", options.bench.prompt},
                              {"generate", options.bench.generate},
                              {"repeat", options.bench.repeat},
                              {"prefill_tok_s", r.prefill_tok_s},
                              {"decode_tok_s", r.decode_tok_s},
                              {"threads", r.threads},
                              {"prefill_threads", r.prefill_threads},
                              {"decode_threads", r.decode_threads},
                              {"prefill_of_peak", r.prefill_of_peak},
                              {"peak_instructions", r.peak_instructions},
                              {"decode_of_bandwidth", r.decode_of_bandwidth},
                              {"first_token_s", r.first_token_s},
                              {"rss_mib", r.rss_mib},
                              {"rss_beyond_mib", r.rss_beyond_mib},
                              {"gop_per_token", r.gop_per_token},
                              {"weight_mb_per_token", r.weight_mb_per_token}};
  if (!r.device.empty()) json["prefill_of_peak"] = json["decode_of_bandwidth"] = nullptr;
  const auto optional = [](double joules) {
    return joules < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(joules);
  };
  json["joules_per_token_prefill"] = optional(r.joules_per_token_prefill);
  json["joules_per_token_decode"] = optional(r.joules_per_token_decode);
  if (!options.bench.against.empty()) {
    json["peer_prefill_tok_s"] = r.peer_prefill_tok_s;
    json["peer_decode_tok_s"] = r.peer_decode_tok_s;
    json["prefill_ratio"] = r.prefill_ratio;
    json["decode_ratio"] = r.decode_ratio;
  }
  nlohmann::ordered_json rounds = nlohmann::ordered_json::array();
  for (const measure::Round& round : r.rounds) {
    rounds.push_back({{"prefill_tok_s", round.prefill_tok_s},
                      {"decode_tok_s", round.decode_tok_s},
                      {"prefill_threads", round.prefill_threads},
                      {"decode_threads", round.decode_threads},
                      {"int8_gops", round.int8_gops},
                      {"read_gb_s", round.read_gb_s}});
    if (!options.bench.against.empty()) {
      rounds.back()["peer_prefill_tok_s"] = round.peer_prefill_tok_s;
      rounds.back()["peer_decode_tok_s"] = round.peer_decode_tok_s;
    }
  }
  json["rounds"] = rounds;
  if (options.bench.speculation != llm::Speculation::none) {
    json["speculate_gain"] = r.speculate_gain;
    json["speculate_tokens_a_step"] = r.speculate_tokens_a_step;
    json["speculate_guessed"] = r.speculate_guessed;
    json["speculate_accepted"] = r.speculate_accepted;
  }
  fmt::print("{}\n", json.dump(2));
}

void print_text(const Options& options, const measure::BenchmarkResult& r) {
  if (r.device.empty()) {
    fmt::print("{}, {}; medians of {} rounds\n", processor_name(), kernels::name(kernels::default_target()),
               options.bench.repeat);
    fmt::print("prefill {:5} tokens  {:8.1f} tok/s   {:4.1f} % of the int8 peak ({})\n", options.bench.prompt,
               r.prefill_tok_s, 100 * r.prefill_of_peak, r.peak_instructions);
    fmt::print("decode  {:5} tokens  {:8.1f} tok/s   {:4.1f} % of the read bandwidth\n",
               options.bench.generate, r.decode_tok_s, 100 * r.decode_of_bandwidth);
  } else {
    fmt::print("{}; medians of {} rounds\n", r.device, options.bench.repeat);
    fmt::print("prefill {:5} tokens  {:8.1f} tok/s\n", options.bench.prompt, r.prefill_tok_s);
    fmt::print("decode  {:5} tokens  {:8.1f} tok/s   {:.0f} GB/s of weights\n", options.bench.generate,
               r.decode_tok_s, r.decode_tok_s * r.weight_mb_per_token / 1000);
  }
  if (!options.bench.against.empty()) {
    fmt::print("peer                  {:8.1f} tok/s prefill, {:.1f} decode: {:.2f}× and {:.2f}×\n",
               r.peer_prefill_tok_s, r.peer_decode_tok_s, r.prefill_ratio, r.decode_ratio);
  }
  if (options.bench.speculation != llm::Speculation::none) {
    fmt::print("speculate             {:8.2f}× as fast, {:.2f} tokens a step, {} of {} guesses right\n",
               r.speculate_gain, r.speculate_tokens_a_step, r.speculate_accepted, r.speculate_guessed);
  }
  fmt::print("start to first token  {:8.3f} s\n", r.first_token_s);
  fmt::print("peak memory           {:8.0f} MiB, {:.0f} beyond the mapped file and the KV cache\n", r.rss_mib,
             r.rss_beyond_mib);
  if (r.joules_per_token_prefill >= 0) {
    fmt::print("energy                {:8.3f} J a token prefilled, {:.3f} decoded\n",
               r.joules_per_token_prefill, r.joules_per_token_decode);
  }
}

void run(Options& options, const CLI::App& command) {
  if (!options.simulate.device.empty()) {
    if (!options.model.empty())
      fail(ErrorCode::invalid_argument, "bench: --simulate takes a --shape, not the file {}", options.model);
    options.simulate.prompt = options.bench.prompt;
    options.simulate.chunk = command.count("--chunk") ? options.bench.engine.chunk : 0;
    options.simulate.json = options.json;
    return run_simulation(options.simulate);
  }
  if (options.peak) {
    print_peaks(options);
    return;
  }
  if (options.model.empty())
    fail(ErrorCode::invalid_argument, "bench: name a MODEL, or give --peak or --simulate");
  choose_device(options.bench.engine, options.restart);
  options.bench.engine.precision =
      options.precision == "f32" ? engine::Precision::f32 : engine::Precision::standard;
  if (!options.prefill.device.empty()) {
    if (options.simulate.policies.size() > 1)
      fail(ErrorCode::invalid_argument, "bench: --prefill runs one --policy, {} are named",
           options.simulate.policies.size());
    if (!options.simulate.policies.empty()) options.prefill.policy = options.simulate.policies.front();
    options.prefill.chunk = command.count("--chunk") ? options.bench.engine.chunk : 0;
    options.bench.make_engine = [&options](const llm::Model& model, const engine::Options& engine) {
      return make_engine(model, engine, options.prefill);
    };
  }
  if (options.gap) {
    return bench_gap(resolve_model(options.model), std::max(options.sequences, 1u), options.bench,
                     options.json);
  }
  if (options.sequences > 0)
    return bench_sequences(resolve_model(options.model), options.sequences, options.bench, options.json);
  if (options.restart) return bench_restart(resolve_model(options.model), options.bench, options.json);
  options.bench.speculation = options.speculate.kind;
  share_threads(options.speculate, options.bench.engine);
  options.bench.make_draft = [&options](const llm::Model& model, const engine::Options& engine) {
    return make_draft(options.speculate, model, engine);
  };
  if (!options.question.empty()) {
    if (options.bench.speculation == llm::Speculation::none)
      fail(ErrorCode::invalid_argument, "bench: --question is for --speculate: name one");
    options.bench.question = read_text(options.question);
  }
  measure::BenchmarkResult result;
  {
    Progress bar("bench", options.bench.repeat, "rounds");
    result = measure::run_benchmark(resolve_model(options.model), options.bench,
                                    [&](uint32_t done, uint32_t) { bar.update(done); });
  }
  options.json ? print_json(options, result) : print_text(options, result);
}

}  // namespace

void add_bench(CLI::App& program) {
  const auto options = std::make_shared<Options>();
  options->bench.engine.context = 0;
  CLI::App* command =
      program.add_subcommand("bench", "measure speed and memory, as fractions of the machine's limits");
  command->add_option("MODEL,-m,--model", options->model, "a model file or the short name of a pulled model");
  command->add_option("--prompt", options->bench.prompt, "tokens to prefill")->capture_default_str();
  command->add_option("--generate", options->bench.generate, "tokens to decode")->capture_default_str();
  command->add_option("--repeat", options->bench.repeat, "rounds; figures are their medians")
      ->capture_default_str();
  command
      ->add_option("--sequences", options->sequences,
                   "decode so many sequences together, and one after the other")
      ->check(between(1u, 1024u));
  command->add_flag("--gap", options->gap,
                    "how long --sequences (1) that answer wait for a token while the prompt is read");
  command->add_flag("--restart", options->restart,
                    "a prompt's first token, and that after a restart, its prefix kept on disk");
  add_threads(*command, options->bench.engine.threads);
  command->add_option("--chunk", options->bench.engine.chunk, "most tokens in one pass of the prefill")
      ->check(between(1u, 65536u))
      ->capture_default_str();
  command
      ->add_option("--precision", options->precision,
                   "of the matrix products: with 8-bit activations (standard) or in floats")
      ->transform(one_of({"standard", "f32"}))
      ->capture_default_str();
  add_device_flags(*command, options->bench.engine);
  add_memory_flag(*command, options->bench.engine);
  add_kv_flag(*command, options->bench.engine.kv);
  add_weights_flag(*command, options->bench.engine.weights);
  command->add_option(
      "--against", options->bench.against,
      "a peer's command, run in turn with cairn; it prints JSON with prefill_tok_s and decode_tok_s");
  add_speculate_flag(*command, options->speculate);
  command
      ->add_option(
          "--question", options->question,
          "what --speculate is measured on: this file's text, asked as `run` asks it; random tokens if not "
          "given")
      ->type_name("FILE");
  command->add_flag("--peak", options->peak, "measure the machine's limits instead of a model");
  in_group(*command, kResearch, [&] { add_simulate_flags(*command, options->simulate); });
  command
      ->add_option("--prefill", options->prefill.device,
                   "prefill on this device as int8 chunks (see `cairn devices`); --chunk and --policy apply")
      ->type_name("DEVICE")
      ->group(kResearch);
  add_npu_bits(*command, options->prefill.npu_bits)->needs("--prefill")->group(kResearch);
  command->add_flag("--sequential", options->prefill.sequential, "prefill: device and CPU take turns")
      ->group(kResearch);
  command->add_flag("--json", options->json, "print JSON");
  command->footer(
      "Example: cairn bench smollm2-135m --prompt 512 --generate 64 --threads 2\n"
      "Example: cairn bench large.gguf --speculate draft:small.gguf --question edit.txt --generate 160\n"
      "Example: cairn bench --simulate snapdragon-8gen3 --shape qwen1.5-1.8b --prompt 1024");
  command->callback([options, command] { run(*options, *command); });
}

}  // namespace cairn::cli
