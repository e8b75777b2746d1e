#include <fmt/format.h>

#include <array>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/error.hpp"
#include "base/names.hpp"
#include "cli/checkpoint_source.hpp"
#include "cli/commands.hpp"
#include "cli/output_flags.hpp"
#include "cli/parser/values.hpp"
#include "cli/session_flags.hpp"
#include "cli/stages.hpp"
#include "cli/standard_io.hpp"
#include "stack/encode.hpp"

namespace cairn::cli {
namespace {

// In the order of the enumerators.
constexpr std::array<const char*, 2> kCodecs = {"planes", "avd"};
constexpr std::array<const char*, 3> kEmbeddings = {"auto", "keep", "planes"};
constexpr std::array<const char*, 4> kTuneOn = {"auto", "cpu", "torch", "cuda"};

struct Flags {
  std::string model, text, output, codec = "planes", embeddings = "auto", tune_on = "auto";
  stack::EncodeOptions options;
  OutputFlags files;
  bool tune = false, json = false;
  std::optional<uint32_t> share;
  uint32_t tune_steps = 240;
};

void run(Flags flags) {
  flags.files.check({flags.output}, source_inputs(flags.model, {flags.text}));
  // Mistakes are told before a checkpoint is fetched and converted.
  if (flags.options.shares > 1 && flags.text.empty())
    fail(ErrorCode::invalid_argument, "--shares: there are statistics with --text only");
  if (flags.share && flags.options.shares < 2)
    fail(ErrorCode::invalid_argument, "--share {}: of how many (--shares)?", *flags.share);
  if (flags.share && *flags.share >= flags.options.shares)
    fail(ErrorCode::invalid_argument, "--share {}: with --shares {} they are 0 … {}", *flags.share,
         flags.options.shares, flags.options.shares - 1);
  if (flags.text.empty()) flags.options.windows = 0;
  flags.options.codec = parse_name<stack::Codec>(kCodecs, flags.codec, "a codec");
  if (flags.tune) flags.options.tune.steps = flags.tune_steps;
  flags.options.embeddings =
      parse_name<stack::Embeddings>(kEmbeddings, flags.embeddings, "a treatment of embeddings");
  flags.options.tune.on = parse_name<stack::TuneOn>(kTuneOn, flags.tune_on, "a place to tune on");
  if (const char* w = std::getenv("XW")) {  // EXPERIMENT
    char* at = const_cast<char*>(w);
    for (size_t i = 1; i < flags.options.fit.weights.size(); ++i)
      flags.options.fit.weights[i] = std::strtof(at, &at);
  }
  const std::string text = flags.text.empty() ? std::string() : read_text(flags.text);
  llm::ModelOptions model_options;
  model_options.tokenizer_ahead = !flags.text.empty();
  const auto model = llm::Model::load(open_source(flags.model, flags.output), model_options);
  Stages stages("stack");
  flags.options.overall = [&](double share) { stages.share(share); };
  flags.options.estimate = [&](const stack::EncodeEstimate& estimate) {
    stages.expect(estimate.seconds,
                  fmt::format("about {:.0f} MB", std::ceil(static_cast<double>(estimate.file_bytes) / 1e6)));
  };
  const auto told = [&](std::string_view stage, uint64_t done, uint64_t total) {
    stages.update(stage, done, total);
  };
  if (flags.share) {
    const std::string file =
        stack::gather_share(*model, text, flags.options, flags.output, *flags.share, told);
    write_out(fmt::format("{}: statistics of share {} of {}\n", file, *flags.share, flags.options.shares));
    return;
  }
  const stack::EncodeReport report = stack::encode_stack(*model, text, flags.options, flags.output, told);
  if (flags.json) {
    nlohmann::ordered_json json = {{"matrices", report.matrices},
                                   {"blocks", report.blocks},
                                   {"linear_bytes", report.linear_bytes},
                                   {"file_bytes", report.file_bytes},
                                   {"resumed", report.resumed}};
    if (flags.tune) json["kl_at_3_bits"] = {report.loss_before, report.loss_after};
    write_out(json.dump() + "\n");
  } else {
    write_out(fmt::format("{}: {} matrices in {} blocks, {} bytes of {}\n", flags.output, report.matrices,
                          report.blocks, report.linear_bytes, report.file_bytes));
    if (flags.tune)
      write_out(fmt::format("tuned: {:.3f} nats a token from the source at 3 bits, before {:.3f}\n",
                            report.loss_after, report.loss_before));
  }
}

}  // namespace

void add_stack(CLI::App& program) {
  const auto flags = std::make_shared<Flags>();
  stack::EncodeOptions& options = flags->options;
  CLI::App* command =
      program.add_subcommand("stack", "sort a model's weights into a file that fits any memory");
  add_source(*command, flags->model);
  command->add_option("-o,--output", flags->output, "the stack to write")->required()->type_name("FILE");
  add_output_flags(*command, flags->files);
  command->add_option("--text", flags->text, "text like what the model will read; - is standard input")
      ->type_name("FILE");
  command
      ->add_option(
          "--codec", flags->codec,
          "planes: nested codes of up to 7 bits (default); avd: BitStack's decomposition, to compare")
      ->transform(one_of(kCodecs))
      ->type_name("NAME");
  command
      ->add_option("--embeddings", flags->embeddings,
                   "token embedding and output head: keep: as the model has them; planes: stacked like the "
                   "rest; auto (default): planes where they would take more than the rest at 3 bits")
      ->transform(one_of(kEmbeddings))
      ->type_name("NAME");
  command->add_flag("--exact", options.exact, "planes: a last level that restores the source exactly");
  command->add_flag("--tune", flags->tune,
                    "planes: tune the scales by distillation; takes longer than all else");
  command->add_option("--tune-steps", flags->tune_steps, "steps of that")
      ->capture_default_str()
      ->check(between(1u, 1u << 20));
  command->add_option("--tune-batch", options.tune.batch, "windows of text in a step")
      ->capture_default_str()
      ->check(between(1u, 1u << 10));
  command->add_option("--tune-windows", options.tune.windows, "most windows of text to tune on")
      ->capture_default_str()
      ->check(between(1u, 1u << 20));
  command->add_option("--tune-rate", options.tune.rate, "of Adam's first steps")
      ->capture_default_str()
      ->check(between(1e-6f, 1.0f));
  command
      ->add_option(
          "--tune-on", flags->tune_on,
          "cpu: cairn itself; torch: libtorch's CPU; cuda: libtorch's GPU; auto (default): cuda where "
          "that is found, else cpu")
      ->transform(one_of(kTuneOn))
      ->type_name("NAME");
  command->add_option("--windows", options.windows, "most windows of text to calibrate with")
      ->capture_default_str()
      ->check(between(1u, 1u << 20));
  command->add_option("--window", options.window, "tokens of a window")->capture_default_str();
  command
      ->add_option("--importance-windows", options.importance_windows,
                   "of them, to measure what an error of each row costs; 0: all rows alike")
      ->capture_default_str();
  command
      ->add_option(
          "--shares", options.shares,
          "make the statistics over the text by so many shares of its windows, kept beside FILE until "
          "it is whole; any machine can make one (--share)")
      ->capture_default_str()
      ->check(between(1u, 1u << 10));
  command->add_option("--share", flags->share, "only make this share, from 0, for a later run without it")
      ->type_name("N");
  command
      ->add_option(
          "--sweeps", options.fit.sweeps,
          "planes: passes of coordinate descent over all codes; with 0 codes take a tenth of the time "
          "and lose a third more at 1 to 5 bits")
      ->capture_default_str()
      ->check(between(0u, 64u));
  add_threads(*command, options.threads);
  command->add_flag("--json", flags->json, "print one JSON object");
  for (const char* name :
       {"--codec", "--tune", "--tune-steps", "--tune-batch", "--tune-windows", "--tune-rate", "--tune-on",
        "--window", "--importance-windows", "--sweeps", "--shares", "--share"})
    command->get_option(name)->group(kResearch);
  command->footer(
      "What was done before an interrupt stays in FILE.stack.partial, and the same command goes on from "
      "there.\n"
      "Examples: cairn stack smollm2-135m --text some.txt -o smollm2.stack.gguf\n"
      "          cairn stack big.gguf --text some.txt -o big.stack.gguf --shares 8 --share 3");
  command->callback([flags] { run(*flags); });
}

}  // namespace cairn::cli
