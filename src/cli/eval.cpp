#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/log.hpp"
#include "base/progress.hpp"
#include "cli/commands.hpp"
#include "cli/output_flags.hpp"
#include "cli/parser/values.hpp"
#include "cli/prefill_flags.hpp"
#include "cli/quantize_flags.hpp"
#include "cli/session_flags.hpp"
#include "cli/standard_io.hpp"
#include "llm/draft_model.hpp"
#include "llm/model.hpp"
#include "measure/evaluate.hpp"
#include "measure/logits_file.hpp"
#include "offload/engine.hpp"
#include "store/model_store.hpp"

namespace cairn::cli {
namespace {

constexpr uint32_t kWindow = 512;
constexpr uint32_t kChunk = 256;            // of --prefill: a measured one would change from run to run
constexpr uint32_t kLambadaContext = 1024;  // its passages have up to 300 tokens

struct Flags {
  std::string model, perplexity, lambada, logits, against;
  size_t limit = 0;
  std::string device;  // --prefill; empty: none
  double npu_bits = 0;
  std::string form = "products";
  bool against_f32 = false, against_own = false, json = false;
  engine::Options engine;
  QuantizeFlags quantize;
  OutputFlags files;
};

using Json = nlohmann::ordered_json;

// Draws a bar and lets Ctrl-C end the work between two passes.
measure::EvaluateProgress progress_bar(std::optional<Progress>& bar, const char* label, const char* unit) {
  return [&bar, label, unit](uint64_t done, uint64_t total) {
    throw_if_interrupted();
    if (!bar) bar.emplace(label, total, unit);
    bar->update(done);
    if (done == total) bar.reset();
  };
}

size_t threads(const Flags& flags) {
  return flags.engine.threads ? flags.engine.threads : usable_processors();
}

// What the model is compared with: "f32", "own" or "reference"; empty: nothing.
std::string compared(const Flags& flags) {
  if (flags.against_f32) return "f32";
  if (flags.against_own) return "own";
  return flags.against.empty() ? "" : "reference";
}

// The same model another way, or another one of the same vocabulary. The engine keeps what it needs of it.
std::shared_ptr<engine::Engine> make_reference(const Flags& flags, const llm::Model& model,
                                               engine::Options options) {
  if (flags.against_f32) {
    options.precision = engine::Precision::f32;
    options.kv = engine::KvType::f16;  // which f32 widens
  }
  if (flags.against.empty()) {
    options.device = "cpu";
    return model.make_engine(options);
  }
  const auto other = llm::Model::load(resolve_model(flags.against));
  graph::require_head(other->parameters(), other->file().path());
  llm::check_vocabulary(model, *other, "be compared with");
  const uint32_t wanted = model.parameters().vocabulary, size = other->parameters().vocabulary;
  if (size != wanted) {
    fail(ErrorCode::invalid_argument, "{} cannot be compared with {}: it has {} logits, not {}",
         other->file().path(), model.file().path(), size, wanted);
  }
  if (options.context > other->parameters().context) {
    fail(ErrorCode::invalid_argument, "--context {} is more than the {} that {} was trained for",
         options.context, other->parameters().context, other->file().path());
  }
  options.memory = 0;
  options.memory_auto = false;
  return other->make_engine(options);
}

// The model as the flags want it run: as usual, prefilled on a device, or all of it through a scheme's int8
// products.
std::shared_ptr<engine::Engine> make_engine(const Flags& flags, const llm::Model& model,
                                            const quantize::Scheme* scheme, const engine::Options& options) {
  if (scheme == nullptr) return model.make_engine(options);
  if (options.device != "cpu" && options.device != "auto") {
    fail(ErrorCode::invalid_argument,
         "--device {} computes in the GPU's own way: no int8 scheme goes with it", options.device);
  }
  offload::PrefillOptions prefill;
  prefill.engine = options;
  prefill.engine.threads = static_cast<uint32_t>(threads(flags));
  prefill.concurrent = false;
  prefill.everything = flags.device.empty();
  if (!flags.device.empty()) {
    prefill.device = flags.device;
    prefill.engine.chunk = kChunk;
    prefill.npu_bits = flags.npu_bits;
    prefill.form = npu_form(flags.form, flags.quantize, flags.npu_bits);
    prefill.accelerator.cache_folder = cache_folder("graphs");
    prefill.warn = prefill.accelerator.notice = [](const std::string& line) { warn("{}", line); };
  }
  return offload::make_prefill_engine(model.file(), *scheme, prefill);
}

void report_shadow(const engine::Engine& engine, Json& report) {
  const auto* prefill = dynamic_cast<const offload::PrefillEngine*>(&engine);
  if (prefill == nullptr) return;
  const offload::PrefillStatistics& s = prefill->statistics();
  if (s.crossings > 0) {
    report["crossings"] = s.crossings;
    report["bytes_in"] = s.bytes_in;
    report["bytes_out"] = s.bytes_out;
  }
  report["graphs"] = s.graphs;
  report["compile_seconds"] = s.compile_seconds;
  report["recomputed_outputs"] = s.recomputed_outputs;
  report["shadow_elements"] = s.shadow_elements;
  report["hot_columns"] = s.hot_columns;
  report["cold_columns"] = s.cold_columns;
  report["cold_bytes"] = s.cold_bytes;
  report["shadow_bytes"] = s.shadow_bytes;
}

void evaluate_text(const Flags& flags, const llm::Model& model, const quantize::Scheme* scheme,
                   ThreadPool& pool, Json& report) {
  engine::Options options = flags.engine;
  if (options.context == 0) options.context = std::min(kWindow, model.parameters().context);
  if (options.context > model.parameters().context) {
    fail(ErrorCode::invalid_argument, "--context {} is more than the {} that the model was trained for",
         options.context, model.parameters().context);
  }
  const auto windows = measure::evaluation_windows(*model.tokenizer(), read_text(flags.perplexity),
                                                   options.context, flags.limit);
  const auto engine = make_engine(flags, model, scheme, options);
  std::optional<Progress> bar;
  measure::Evaluator evaluator(*engine, pool, progress_bar(bar, "perplexity", "tokens"), interrupted);
  const Stopwatch watch;
  measure::Perplexity perplexity;
  const std::string of = compared(flags);
  if (!of.empty()) {
    const auto reference = make_reference(flags, model, options);
    const measure::Agreement agreement = evaluator.agreement(*reference, windows);
    perplexity = agreement.engine;
    report["mean_kl"] = agreement.mean_kl;
    report["max_kl"] = agreement.max_kl;
    report["top1"] = agreement.top1;
    report["perplexity_" + of] = agreement.reference.all;
    report["perplexity_second_half_" + of] = agreement.reference.second_half;
  } else if (!flags.logits.empty()) {
    measure::LogitsFile file(flags.logits, model.parameters().vocabulary, windows);
    perplexity =
        evaluator.perplexity(windows, [&](size_t window, uint32_t position, std::span<const float> row) {
          file.add(window, position, row);
        });
    file.commit();
  } else {
    perplexity = evaluator.perplexity(windows);
  }
  report["perplexity"] = perplexity.all;
  report["perplexity_second_half"] = perplexity.second_half;
  report["tokens"] = perplexity.tokens;
  report["windows"] = windows.size();
  report["context"] = options.context;
  report["seconds"] = watch.seconds();
  report_shadow(*engine, report);
}

void evaluate_lambada(const Flags& flags, const llm::Model& model, const quantize::Scheme* scheme,
                      ThreadPool& pool, Json& report) {
  engine::Options options = flags.engine;
  if (options.context == 0) options.context = std::min(kLambadaContext, model.parameters().context);
  const std::vector<std::string> passages = measure::read_lambada(flags.lambada, flags.limit);
  const auto engine = make_engine(flags, model, scheme, options);
  std::optional<Progress> bar;
  measure::Evaluator evaluator(*engine, pool, progress_bar(bar, "LAMBADA", "passages"), interrupted);
  const measure::LambadaResult result = evaluator.lambada(*model.tokenizer(), passages);
  report["accuracy"] = result.accuracy;
  report["correct"] = result.correct;
  report["passages"] = result.passages;
}

void print(const Json& report, const std::string& of) {
  if (report.contains("scheme")) {
    fmt::print("{}; shadow work on {:.1f} % of the inputs\n", report["scheme"].get<std::string>(),
               100 * report["shadow_inputs"].get<double>());
  }
  if (report.contains("perplexity")) {
    fmt::print("perplexity              {:10.4f}   {} tokens in {} windows of {}\n",
               report["perplexity"].get<double>(), report["tokens"].get<uint64_t>(),
               report["windows"].get<uint64_t>(), report["context"].get<uint64_t>());
    fmt::print("  second half           {:10.4f}\n", report["perplexity_second_half"].get<double>());
  }
  if (report.contains("mean_kl")) {
    fmt::print("{:<24}{:10.4f}\n", of == "f32" ? "perplexity in f32" : "perplexity of " + of,
               report["perplexity_" + of].get<double>());
    fmt::print("  second half           {:10.4f}\n", report["perplexity_second_half_" + of].get<double>());
    fmt::print("KL divergence{:<11}{:10.3e}   largest {:.3e}\n", of == "reference" ? "" : " from " + of,
               report["mean_kl"].get<double>(), report["max_kl"].get<double>());
    fmt::print("same most likely token  {:10.2f} %\n", 100 * report["top1"].get<double>());
  }
  if (report.contains("accuracy")) {
    fmt::print("LAMBADA                 {:10.2f} % {} of {} passages\n",
               100 * report["accuracy"].get<double>(), report["correct"].get<uint64_t>(),
               report["passages"].get<uint64_t>());
  }
}

void eval(Flags& flags) {
  if (flags.perplexity.empty() && flags.lambada.empty()) {
    fail(ErrorCode::invalid_argument, "nothing to evaluate: give --perplexity FILE or --lambada FILE");
  }
  if (flags.against_f32 && flags.engine.precision == engine::Precision::f32) {
    fail(ErrorCode::invalid_argument,
         "--against-f32 compares --precision standard with f32, not f32 with itself");
  }
  const bool int8 = flags.quantize.given() || !flags.device.empty();
  if (int8 && flags.engine.precision == engine::Precision::f32) {
    fail(ErrorCode::invalid_argument, "{} makes the products int8, --precision f32 makes them float",
         flags.device.empty() ? "--quantize" : "--prefill");
  }
  if (flags.against_own && !int8) {
    fail(ErrorCode::invalid_argument,
         "--against-own compares --prefill DEVICE or --quantize with the CPU's own way: name one");
  }
  flags.files.check({flags.logits}, model_inputs(flags.model, {flags.perplexity, flags.lambada,
                                                               flags.quantize.calibration, flags.against}));
  const auto model = llm::Model::load(resolve_model(flags.model));
  graph::require_head(model->parameters(), model->file().path());
  std::optional<quantize::Scheme> scheme;
  if (int8) scheme = make_scheme(flags.quantize, model->file(), model->parameters().layers);
  warn_of(*model->tokenizer());
  // A scheme's engine has pools of its own.
  flags.engine.pool =
      std::make_shared<ThreadPool>(threads(flags), scheme ? ThreadPool::Idle::sleep : ThreadPool::Idle::spin);
  ThreadPool& pool = *flags.engine.pool;
  Json report;
  report["model"] = flags.model;
  const bool f32 = flags.engine.precision == engine::Precision::f32;
  report["precision"] = f32 ? "f32" : "standard";
  report["kv"] = f32 && flags.engine.kv == engine::KvType::f16 ? "f32" : kv_name(flags.engine.kv);
  if (scheme) {
    if (flags.quantize.given()) report["quantize"] = flags.quantize.method;
    if (!flags.device.empty()) report["prefill"] = flags.device;
    const bool layers = flags.form != "products";  // which have no scheme
    report["scheme"] = layers ? flags.form : scheme->name;
    report["shadow_inputs"] = layers ? 0.0 : quantize::shadow_share(*scheme);
  }
  const quantize::Scheme* chosen = scheme ? &*scheme : nullptr;
  if (!flags.perplexity.empty()) evaluate_text(flags, *model, chosen, pool, report);
  if (!flags.lambada.empty()) evaluate_lambada(flags, *model, chosen, pool, report);
  if (flags.json) {
    write_out(report.dump() + "\n");
  } else {
    print(report, compared(flags));
  }
}

}  // namespace

void add_eval(CLI::App& program) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("eval", "measure how well a model predicts text");
  add_model(*command, flags->model);
  CLI::Option* perplexity = command
                                ->add_option("--perplexity", flags->perplexity,
                                             "perplexity of this text, cut into windows; - is standard input")
                                ->type_name("FILE");
  command
      ->add_option("--lambada", flags->lambada,
                   "share of this file's passages (JSON lines with \"text\") whose last word is predicted")
      ->type_name("FILE");
  command->add_option("--limit", flags->limit, "only the first so many windows and passages; 0 is all")
      ->type_name("N");
  CLI::Option* against =
      command
          ->add_flag("--against-f32", flags->against_f32,
                     "run --precision f32 beside it: KL divergence and agreement of the most likely token")
          ->needs(perplexity);
  CLI::Option* own =
      command
          ->add_flag("--against-own", flags->against_own,
                     "--prefill, --quantize: run the CPU's own way beside it, as --against-f32 does")
          ->needs(perplexity)
          ->excludes(against);
  CLI::Option* other =
      command
          ->add_option("--against", flags->against,
                       "run this model of the same vocabulary beside it, such as what it was quantised from")
          ->type_name("MODEL")
          ->needs(perplexity)
          ->excludes(against)
          ->excludes(own);
  command
      ->add_option("--logits", flags->logits, "write the logits of every position (format: docs/evaluate.md)")
      ->type_name("FILE")
      ->needs(perplexity)
      ->excludes(against)
      ->excludes(own)
      ->excludes(other);
  in_group(*command, kResearch, [&] {
    CLI::Option* device =
        command->add_option("--prefill", flags->device, "prefill on this device as `run --prefill` does")
            ->type_name("DEVICE");
    add_npu_bits(*command, flags->npu_bits)->needs(device);
    add_npu_form(*command, flags->form)->needs(device);
  });
  add_output_flags(*command, flags->files);
  add_engine_flags(*command, flags->engine);
  add_quantize_flags(*command, flags->quantize);
  command->get_option("--context")
      ->description("tokens of a window (512 if not given); for LAMBADA the most tokens of a passage");
  command->add_flag("--json", flags->json, "print one JSON object");
  command->footer(
      "Perplexity is over every position of every window; 'second half' is llama.cpp's figure.\n"
      "Example: cairn eval smollm2-135m --perplexity wiki.test.raw --context 512 --limit 20");
  command->callback([flags] { eval(*flags); });
}

}  // namespace cairn::cli
