#include "measure/benchmark.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>

#include "backends/cuda/engine.hpp"
#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/memory_pressure.hpp"
#include "kernels/gemm.hpp"
#include "kernels/kernel_set.hpp"
#include "llm/chat.hpp"
#include "llm/model.hpp"
#include "measure/median.hpp"

namespace cairn::measure {
namespace {

const Stopwatch since_start;

// What one token costs: operations of the layers' products, by the instruction sequence that suits the
// encoding, and the bytes of every matrix that decode reads.
struct Work {
  double operations8 = 0, operations4 = 0;
  double bytes = 0;
  double stacked = 0;  // weights in a stack, whose bytes depend on what is in memory
};

Work work_of(const gguf::File& file, const graph::Model& model, kernels::Target target) {
  Work work;
  const auto add = [&](const graph::OpList& ops, bool layer) {
    for (const graph::Op& op : ops) {
      const bool heads = op.kind == graph::OpKind::head_linear;
      if (!heads && op.kind != graph::OpKind::linear && op.kind != graph::OpKind::expert_linear) continue;
      // Of experts those that a token has.
      const uint32_t rows = op.rows * (heads ? op.heads : std::max(op.used, 1u));
      if (const gguf::Tensor* tensor = file.find_tensor(op.weight); tensor == nullptr) {
        // Only a stack's matrices are no tensors; their rows are as wide as the input.
        const double weights = static_cast<double>(rows) * model.width(op.input);
        if (layer) work.operations8 += 2 * weights;
        work.stacked += weights;
        continue;
      }
      const gguf::Tensor& tensor = file.tensor(op.weight);
      const double operations = 2.0 * rows * static_cast<double>(tensor.row_elements());
      const bool codes =
          kernels::kernel_set(target).encoding(tensor.encoding).form != kernels::PanelForm::values8;
      if (layer) (codes ? work.operations4 : work.operations8) += operations;
      work.bytes += static_cast<double>(rows * tensor.row_bytes());
    }
  };
  for (const graph::Layer& layer : model.layers) {
    for (const graph::OpList& ops : layer) add(ops, true);
  }
  add(model.head, false);
  return work;
}

// Sum of the processors' energy counters in joules; nothing where they cannot be read.
std::optional<double> energy() {
  double total = 0;
  bool any = false;
  for (int package = 0; package < 8; ++package) {
    std::ifstream file("/sys/class/powercap/intel-rapl:" + std::to_string(package) + "/energy_uj");
    double microjoules;
    if (!(file >> microjoules)) continue;
    total += microjoules * 1e-6;
    any = true;
  }
  return any ? std::optional(total) : std::nullopt;
}

double status_kib(const char* key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key, 0) == 0)
      return std::strtod(line.c_str() + std::char_traits<char>::length(key), nullptr);
  }
  return 0;
}

// Resident KiB of the mappings of files whose name begins with the model's (split files differ in their
// number).
double mapped_kib(const std::string& given) {
  std::ifstream file("/proc/self/smaps");
  const std::string path = std::filesystem::canonical(given).string();
  const std::string stem = path.substr(path.rfind('/') + 1).substr(0, 12);
  bool inside = false;
  double total = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.find('-') < 17 && line.find(' ') > 16) {
      const size_t name = line.rfind('/');
      inside = name != std::string::npos && line.compare(name + 1, stem.size(), stem) == 0;
    } else if (inside && line.rfind("Rss:", 0) == 0) {
      total += std::strtod(line.c_str() + 4, nullptr);
    }
  }
  return total;
}

// The JSON object in what a peer printed: from the first brace to the last, as `cairn bench --json` prints
// one, or, where it said other things with braces before, that of its last line.
nlohmann::json json_of(const std::string& output) {
  const size_t first = output.find('{'), last = output.rfind('}');
  if (first == std::string::npos || last == std::string::npos || last < first) return {};
  nlohmann::json json = nlohmann::json::parse(output.substr(first, last + 1 - first), nullptr, false);
  if (!json.is_discarded()) return json;
  const size_t line = output.rfind('\n', last);
  const size_t begin = output.find('{', line == std::string::npos ? 0 : line);
  return begin > last ? json : nlohmann::json::parse(output.substr(begin, last + 1 - begin), nullptr, false);
}

// Runs the peer's command and reads the rates that it prints.
void run_peer(const std::string& command, Round& round) {
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  if (!pipe) fail(ErrorCode::io, "--against: cannot start \"{}\"", command);
  std::string output;
  std::array<char, 4096> buffer;
  while (const size_t n = fread(buffer.data(), 1, buffer.size(), pipe.get())) output.append(buffer.data(), n);
  const nlohmann::json json = json_of(output);
  const auto number = [&](const char* key) {
    const auto it = json.is_object() ? json.find(key) : json.end();
    return json.is_object() && it != json.end() && it->is_number() ? it->get<double>() : 0.0;
  };
  round.peer_prefill_tok_s = number("prefill_tok_s");
  round.peer_decode_tok_s = number("decode_tok_s");
  if (round.peer_prefill_tok_s == 0 && round.peer_decode_tok_s == 0) {
    fail(ErrorCode::io, "--against: \"{}\" printed no JSON with prefill_tok_s or decode_tok_s", command);
  }
}

template <class Figure>
double median_of(const std::vector<Round>& rounds, const Figure& figure) {
  std::vector<double> values;
  for (const Round& round : rounds) values.push_back(figure(round));
  return median(std::move(values));
}

// The same greedy answers with guesses and without, in turn.
void measure_speculation(const llm::Model& model, const std::shared_ptr<engine::Engine>& engine,
                         const std::shared_ptr<engine::Engine>& draft, std::span<const llm::Token> prompt,
                         const BenchmarkOptions& options, BenchmarkResult& result) {
  llm::GenerateOptions generate;
  generate.max_tokens = options.generate;
  generate.ignore_end = true;
  generate.sampler.temperature = 0;
  generate.cancelled = interrupted;
  std::vector<double> gains;
  uint64_t steps = 0, tokens = 0;
  llm::Session session = model.make_session(engine);
  session.set_draft(draft);
  for (uint32_t i = 0; i < options.repeat; ++i) {
    double rates[2] = {};
    for (const bool guess : {i % 2 == 0, i % 2 != 0}) {
      throw_if_interrupted();
      generate.speculation = guess ? options.speculation : llm::Speculation::none;
      const llm::Statistics s = session.generate(prompt, generate).statistics;
      rates[guess] = s.decode_rate();
      if (!guess) continue;
      steps += s.decode_steps;
      tokens += s.decode_tokens;
      result.speculate_guessed += s.guessed_tokens;
      result.speculate_accepted += s.accepted_tokens;
    }
    gains.push_back(rates[0] > 0 ? rates[1] / rates[0] : 0);
  }
  result.speculate_gain = median(gains);
  result.speculate_tokens_a_step = steps > 0 ? static_cast<double>(tokens) / static_cast<double>(steps) : 0;
}

}  // namespace

double seconds_since_start() {
  return since_start.seconds();
}

BenchmarkResult run_benchmark(const std::string& model_path, const BenchmarkOptions& options,
                              const std::function<void(uint32_t done, uint32_t total)>& progress) {
  if (options.prompt == 0 || options.repeat == 0) {
    fail(ErrorCode::invalid_argument, "bench: --prompt ({}) and --repeat ({}) must be at least 1",
         options.prompt, options.repeat);
  }
  const std::shared_ptr<const llm::Model> model = llm::Model::load(model_path);
  const std::vector<llm::Token> question = options.question.empty()
                                               ? std::vector<llm::Token>{}
                                               : encode_prompt(*model, options.question, "", false);
  engine::Options engine_options = options.engine;
  if (engine_options.context == 0) {
    engine_options.context =
        std::max(options.prompt, static_cast<uint32_t>(question.size())) + options.generate;
  }
  const std::shared_ptr<engine::Engine> engine =
      options.make_engine ? options.make_engine(*model, engine_options) : model->make_engine(engine_options);
  const std::shared_ptr<engine::Engine> draft =
      options.make_draft ? options.make_draft(*model, engine_options) : nullptr;
  const auto sequence = engine->make_sequence();
  const kernels::Target target = kernels::default_target();
  Work work = work_of(model->file(), engine->model(), target);
  const uint32_t vocabulary = engine->model().parameters.vocabulary;
  std::vector<float> logits(vocabulary);

  std::mt19937 random(0);
  std::vector<int32_t> tokens(std::max(options.prompt, options.generate));
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % vocabulary);

  const auto prefill = [&] {
    const uint32_t step = engine->chunk();
    sequence->truncate(0);
    for (uint32_t at = 0; at < options.prompt; at += step) {
      throw_if_interrupted();
      const uint32_t n = std::min(step, options.prompt - at);
      const bool last = at + n == options.prompt;
      const auto wanted = last ? engine::Logits::last : engine::Logits::none;
      engine->step({sequence.get(), {tokens.data() + at, n}, wanted, logits.data()}, interrupted);
    }
  };
  const auto decode = [&] {
    for (uint32_t i = 0; i < options.generate; ++i) {
      throw_if_interrupted();
      engine->step({sequence.get(), {tokens.data() + i, 1}, engine::Logits::last, logits.data()});
    }
  };

  BenchmarkResult result{};
  result.device = cuda::device_of(*engine);
  prefill();
  result.first_token_s = seconds_since_start();
  decode();
  result.rss_mib = status_kib("VmHWM:") / 1024;
  work.bytes += work.stacked * engine->memory().bits / 8;
  const double kv_mib = static_cast<double>(engine->kv_bytes()) / (1 << 20);
  result.rss_beyond_mib = result.rss_mib - mapped_kib(model_path) / 1024 - kv_mib;
  result.gop_per_token = (work.operations8 + work.operations4) * 1e-9;
  result.weight_mb_per_token = work.bytes * 1e-6;

  ThreadPool pool(engine_options.threads == 0 ? usable_processors() : engine_options.threads);
  const uint64_t before_probe = resident_memory();
  const BandwidthProbe probe;
  // The probe's memory is not the model's.
  if (engine->elastic() && engine_options.memory != 0)
    engine->set_memory(engine_options.memory + resident_memory() - std::min(resident_memory(), before_probe));
  double prefill_joules = 0, decode_joules = 0;
  bool joules = energy().has_value();
  for (uint32_t i = 0; i < options.repeat; ++i) {
    if (progress) progress(i, options.repeat);
    Round round{};
    // Limits before and after: the machine's speed drifts.
    const auto peak = [&] {
      // Operations a second when each encoding's products run at their own sequence's limit.
      const double eight = int8_gops(pool, target, false, 0.03);
      const double four = work.operations4 > 0 ? int8_gops(pool, target, true, 0.03) : eight;
      return (work.operations8 + work.operations4) / (work.operations8 / eight + work.operations4 / four);
    };
    const double peak_before = peak();
    const std::optional<double> joules_before = energy();
    const ThreadUse before_prefill = engine->thread_use();
    const Stopwatch prefill_watch;
    prefill();
    round.prefill_tok_s = options.prompt / prefill_watch.seconds();
    const ThreadUse before_decode = engine->thread_use();
    round.prefill_threads = before_decode.since(before_prefill).mean();
    const std::optional<double> joules_between = energy();
    round.int8_gops = (peak_before + peak()) / 2;

    const double read_before = probe.read_gb_s(pool, target);
    const std::optional<double> joules_decode = energy();
    const Stopwatch decode_watch;
    decode();
    if (options.generate > 0) round.decode_tok_s = options.generate / decode_watch.seconds();
    round.decode_threads = engine->thread_use().since(before_decode).mean();
    const std::optional<double> joules_after = energy();
    round.read_gb_s = (read_before + probe.read_gb_s(pool, target)) / 2;
    joules = joules && joules_before && joules_between && joules_decode && joules_after;
    if (joules) {
      prefill_joules += *joules_between - *joules_before;
      decode_joules += *joules_after - *joules_decode;
    }
    if (!options.against.empty()) run_peer(options.against, round);
    result.rounds.push_back(round);
  }
  if (options.speculation != llm::Speculation::none) {
    const std::span<const llm::Token> random_tokens = std::span(tokens).first(options.prompt);
    measure_speculation(*model, engine, draft, question.empty() ? random_tokens : question, options, result);
  }
  const std::vector<Round>& rounds = result.rounds;
  result.prefill_tok_s = median_of(rounds, [](const Round& r) { return r.prefill_tok_s; });
  result.decode_tok_s = median_of(rounds, [](const Round& r) { return r.decode_tok_s; });
  result.threads = pool.threads();
  result.prefill_threads = median_of(rounds, [](const Round& r) { return r.prefill_threads; });
  result.decode_threads = median_of(rounds, [](const Round& r) { return r.decode_threads; });
  result.prefill_of_peak =
      median_of(rounds, [&](const Round& r) { return r.prefill_tok_s * result.gop_per_token / r.int8_gops; });
  result.decode_of_bandwidth = median_of(rounds, [&](const Round& r) {
    return r.decode_tok_s * result.weight_mb_per_token * 1e-3 / r.read_gb_s;
  });
  if (!options.against.empty()) {
    const auto ratio = [](double ours, double theirs) { return theirs > 0 ? ours / theirs : 0; };
    result.peer_prefill_tok_s = median_of(rounds, [](const Round& r) { return r.peer_prefill_tok_s; });
    result.peer_decode_tok_s = median_of(rounds, [](const Round& r) { return r.peer_decode_tok_s; });
    result.prefill_ratio =
        median_of(rounds, [&](const Round& r) { return ratio(r.prefill_tok_s, r.peer_prefill_tok_s); });
    result.decode_ratio =
        median_of(rounds, [&](const Round& r) { return ratio(r.decode_tok_s, r.peer_decode_tok_s); });
  }
  const kernels::PeakKernels& peaks = kernels::kernel_set(target).peak;
  result.peak_instructions =
      work.operations4 > work.operations8 ? peaks.instructions[1] : peaks.instructions[0];
  result.joules_per_token_prefill = joules ? prefill_joules / options.repeat / options.prompt : -1;
  result.joules_per_token_decode =
      joules && options.generate > 0 ? decode_joules / options.repeat / options.generate : -1;
  return result;
}

}  // namespace cairn::measure
