#include "measure/calibrate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/atomic_file.hpp"
#include "base/error.hpp"
#include "base/unfinished_file.hpp"
#include "cli/commands.hpp"
#include "cli/output_flags.hpp"
#include "cli/parser/values.hpp"
#include "cli/session_flags.hpp"
#include "cli/stages.hpp"
#include "cli/standard_io.hpp"
#include "store/model_store.hpp"

namespace cairn::cli {
namespace {

struct Flags {
  std::string model, text, output, html;
  measure::CalibrateOptions options;
  OutputFlags files;
  bool no_costs = false, no_times = false, json = false;
  std::optional<uint32_t> share;
};

using Json = nlohmann::ordered_json;

Json report(const quantize::Calibration& c) {
  Json whole = Json::array(), times = Json::array();
  for (const quantize::WholeCost& cost : c.whole) {
    whole.push_back({{"form", name(cost.form)},
                     {"float_tokens", cost.float_tokens},
                     {"kl", cost.kl},
                     {"perplexity_ratio", cost.perplexity}});
  }
  for (const quantize::DeviceTimes& device : c.times) {
    Json kinds = Json::object();
    for (size_t kind = 0; kind < device.kinds.size(); ++kind) {
      const auto begin = device.seconds.begin() + static_cast<ptrdiff_t>(kind * device.chunks);
      kinds[device.kinds[kind]] = std::vector<float>(begin, begin + device.chunks);
    }
    times.push_back({{"device", device.device},
                     {"chunk", device.chunk},
                     {"threads", device.threads},
                     {"seconds", kinds}});
  }
  return {{"model", c.model},          {"tokens", c.tokens}, {"window", c.window},
          {"layers", c.layers.size()}, {"whole", whole},     {"times", times}};
}

void print(const quantize::Calibration& c, const std::string& path) {
  fmt::print("{}: {} layers, {} inputs, {} tokens\n", path, c.layers.size(),
             c.layers.size() * quantize::kInputs, c.tokens);
  for (const quantize::WholeCost& cost : c.whole) {
    fmt::print("{:16} first {} tokens in float: perplexity {:+8.2f} %, KL from float {:.3e}\n",
               name(cost.form), cost.float_tokens, 100 * (static_cast<double>(cost.perplexity) - 1), cost.kl);
  }
}

void calibrate(const Flags& flags) {
  measure::CalibrateOptions options = flags.options;
  if (flags.no_costs) options.cost_windows = 0;
  if (flags.no_times) options.devices.clear();
  options.shares_beside = flags.output;
  if (flags.share && options.shares < 2)
    fail(ErrorCode::invalid_argument, "--share {}: of how many (--shares)?", *flags.share);
  if (flags.share && *flags.share >= options.shares)
    fail(ErrorCode::invalid_argument, "--share {}: with --shares {} they are 0 … {}", *flags.share,
         options.shares, options.shares - 1);
  flags.files.check({flags.output, flags.html}, model_inputs(flags.model, {flags.text}));
  const auto model = llm::Model::load(resolve_model(flags.model));
  const std::string partial = partial_path(flags.output, "calibrate");
  Stages bars("calibrate");
  options.overall = [&](double share) { bars.share(share); };
  const auto told = [&](std::string_view stage, uint64_t done, uint64_t total) {
    bars.update(stage, done, total);
  };
  if (flags.share) {
    const std::string file =
        measure::gather_share(*model, read_text(flags.text), options, *flags.share, told);
    write_out(fmt::format("{}: magnitudes of share {} of {}\n", file, *flags.share, options.shares));
    return;
  }
  const quantize::Calibration calibration =
      measure::calibrate(*model, read_text(flags.text), options, partial, told);
  calibration.write(flags.output);
  if (!flags.html.empty()) {
    AtomicFile page(flags.html);
    page.write(quantize::calibration_html(calibration));
    page.commit();
  }
  if (flags.json) {
    write_out(report(calibration).dump() + "\n");
  } else {
    print(calibration, flags.output);
  }
}

}  // namespace

void add_calibrate(CLI::App& program) {
  const auto flags = std::make_shared<Flags>();
  measure::CalibrateOptions& options = flags->options;
  CLI::App* command =
      program.add_subcommand("calibrate", "measure a model's linear inputs and what quantising them costs");
  add_model(*command, flags->model);
  command->add_option("--text", flags->text, "text like what the model will read; - is standard input")
      ->required()
      ->type_name("FILE");
  command->add_option("-o,--output", flags->output, "the sidecar to write")->required()->type_name("FILE");
  command->add_option("--html", flags->html, "draw outliers, hot channels and importance as a page")
      ->type_name("FILE");
  add_output_flags(*command, flags->files);
  command->add_option("--windows", options.windows, "most windows of text to look at")
      ->capture_default_str()
      ->check(between(measure::kLeastWindows, 1u << 20));
  command->add_option("--window", options.window, "tokens of a window")->capture_default_str();
  command
      ->add_option("--float-tokens", options.float_tokens,
                   "first tokens in float while costs are measured; auto runs with as many")
      ->capture_default_str();
  command
      ->add_option("--cost-windows", options.cost_windows,
                   "windows of 128 tokens for the cost of each input in each form")
      ->capture_default_str()
      ->check(between(1u, 1u << 16));
  command
      ->add_option("--whole-windows", options.whole_windows,
                   "windows for the cost of the whole model in each form")
      ->capture_default_str()
      ->check(between(1u, 1u << 16));
  CLI::Option* device =
      command
          ->add_option("--device", options.devices, "time its subgraphs (cpu); may be given more than once")
          ->allow_extra_args(false)
          ->type_name("NAME");
  command->add_option("--chunk", options.chunk, "chunk length of the timed prompts")
      ->capture_default_str()
      ->check(between(1u, 1u << 16));
  command
      ->add_option("--checkpoint", options.checkpoint_seconds,
                   "seconds between checkpoints, from which an interrupted calibration goes on")
      ->check(at_least(0.0))
      ->capture_default_str();
  command
      ->add_option(
          "--shares", options.shares,
          "take magnitudes by so many shares of the windows, kept beside FILE until it is whole; any machine "
          "can make one (--share)")
      ->capture_default_str()
      ->check(between(1u, 1u << 10));
  command->add_option("--share", flags->share, "only make this share, from 0, for a later run without it")
      ->type_name("N");
  command->add_flag("--no-costs", flags->no_costs, "measure no costs: quick, but auto needs them");
  command->add_flag("--no-times", flags->no_times, "measure no times")->excludes(device);
  add_threads(*command, options.threads);
  command->add_flag("--json", flags->json, "print one JSON object");
  for (const char* name :
       {"--window", "--float-tokens", "--cost-windows", "--whole-windows", "--chunk", "--shares", "--share"})
    command->get_option(name)->group(kResearch);
  command->footer(
      "What was done before an interrupt stays in FILE.calibrate.partial, and the same command goes on from "
      "there.\n"
      "Example: cairn calibrate smollm2-135m --text some.txt -o smollm2.cal --html smollm2.html");
  command->callback([flags] { calibrate(*flags); });
}

}  // namespace cairn::cli
