#include <fmt/format.h>

#include <memory>
#include <string>

#include "base/model_store.hpp"
#include "cli/commands.hpp"
#include "formats/describe.hpp"
#include "graph/describe.hpp"

namespace cairn::cli {
namespace {

struct Options {
  std::string model;
  bool json = false, graph = false, full = false;
};

void run(const Options& options) {
  const gguf::File file(resolve_model(options.model));
  const gguf::DescribeOptions describe{options.full};
  if (options.json) {
    auto json = gguf::to_json(file, describe);
    if (options.graph) json["graph"] = graph::to_json(graph::load(file));
    // Strings of a file need not be UTF-8, JSON's must.
    fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    return;
  }
  fmt::print("{}", gguf::describe(file, describe));
  if (options.graph) fmt::print("\n{}", graph::describe(graph::load(file)));
}

}  // namespace

void add_inspect(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("inspect", "Show a model file's metadata, tensors and graph");
  command->add_option("MODEL", options->model, "a GGUF file or the short name of a pulled model")->required();
  command->add_flag("--graph", options->graph, "the op lists of the six subgraphs of a layer as well");
  command->add_flag("--full", options->full, "long arrays and texts in full");
  command->add_flag("--json", options->json, "one JSON object instead of text");
  command->footer("Example:\n  cairn inspect smollm2-135m --graph");
  command->callback([options] { run(*options); });
}

}  // namespace cairn::cli
