#include <fmt/format.h>

#include <memory>

#include "cli/commands.hpp"
#include "cli/json_text.hpp"
#include "cli/parser/values.hpp"
#include "cli/simulate_tables.hpp"

namespace cairn::cli {
namespace {

struct Options {
  std::vector<std::string> tables;
  SimulateTables what;
  std::string policy = "look-ahead", bundle;
};

void run(Options& options) {
  options.what.table.policy = offload::parse_policy(options.policy);
  measure::check(options.what.table);  // before anything is printed
  std::vector<std::string> tables = options.tables;
  nlohmann::ordered_json json;
  if (!options.bundle.empty()) json["bundle"] = bundle_table(options.bundle, options.what.json);
  if (tables.empty() && options.bundle.empty()) tables = {kSimulateTables.begin(), kSimulateTables.end()};
  for (const std::string& table : tables) {
    if (!options.what.json && !json.empty()) fmt::print("\n");
    json[table] = simulate_table(table, options.what);
  }
  if (options.what.json) fmt::print("{}", json_text(json));
}

}  // namespace

void add_simulate(CLI::App& program) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand(
      "simulate", "simulated phones beside what llm.npu's paper measured of them, as tables");
  command->add_option("TABLE", options->tables, "which; all if none is named")
      ->transform(one_of(kSimulateTables));
  command
      ->add_option(
          "--phone", options->what.table.phones,
          "with commas; if not given, those that the paper measured: " + offload::simulated::phone_names())
      ->delimiter(',');
  command
      ->add_option("--model", options->what.table.models,
                   "shapes as synth takes them, with commas; if not given, the paper's")
      ->delimiter(',');
  command
      ->add_option("--prompt", options->what.table.prompts,
                   "tokens, with commas; if not given, those of the paper")
      ->delimiter(',');
  command
      ->add_option("--chunk", options->what.table.chunk,
                   "tokens of a chunk; 0: chosen by the simulated times")
      ->capture_default_str();
  command
      ->add_option("--policy", options->policy,
                   "in-order, pairs, overlap, out-of-order (max-C) or look-ahead")
      ->capture_default_str();
  command->add_option("--prune", options->what.table.prune, "share of the inputs without shadow outliers")
      ->capture_default_str();
  command
      ->add_option("--bundle", options->bundle,
                   "what a folder of `cairn compile` says: graphs of a chunk, what crosses for them, bytes")
      ->type_name("DIR");
  command->add_flag("--json", options->what.json, "print JSON");
  command->footer(
      "Example: cairn simulate prefill --phone redmi-k70-pro\n"
      "Example: cairn simulate tasks --policy in-order\n"
      "Example: cairn simulate forms --model llama-2-7b --prompt 1024 --json");
  command->callback([options] { run(*options); });
}

}  // namespace cairn::cli
