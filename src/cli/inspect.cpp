#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>

#include "base/atomic_file.hpp"
#include "base/error.hpp"
#include "cli/commands.hpp"
#include "cli/json_text.hpp"
#include "cli/output_flags.hpp"
#include "cli/session_flags.hpp"
#include "formats/describe.hpp"
#include "graph/describe.hpp"
#include "measure/simulate.hpp"
#include "offload/describe_graphs.hpp"
#include "stack/curve.hpp"
#include "store/model_store.hpp"

namespace cairn::cli {
namespace {

struct Options {
  std::string model, html;
  bool json = false, graph = false, full = false, graphs = false, tensors = false;
  uint32_t prompt = 1024, chunk = 0;
  OutputFlags files;
};

struct Graphs {
  offload::ChunkPlan plan;
  offload::GraphCount count;
};

// Without a profile of the device's own, the simulated phone's times choose the chunk.
Graphs plan_graphs(const gguf::File& file, const Options& options) {
  const graph::Model model = graph::load(file);
  graph::require_plain(model, file.path(), "prefill with an accelerator does");
  const offload::ModelSizes sizes(model);
  const auto& phone = *offload::simulated::find_phone("snapdragon-8gen3");
  const measure::SimulateOptions defaults;
  Graphs graphs{offload::plan_chunks(options.prompt, options.chunk,
                                     offload::simulated_profile(phone, sizes, defaults.prune)),
                {}};
  graphs.count = offload::count_graphs(sizes, graphs.plan.lengths);
  return graphs;
}

void run(const Options& options) {
  options.files.check({options.html}, model_inputs(options.model));
  const gguf::File file(resolve_model(options.model));
  const bool parts = options.tensors || options.graph || options.graphs;
  const gguf::DescribeOptions describe{options.full, !parts || options.full, options.tensors};
  std::optional<Graphs> graphs;  // before anything is printed: it may refuse
  if (options.graphs) graphs = plan_graphs(file, options);
  std::optional<stack::Layout> layout;
  if (stack::is_stack(file)) layout = stack::read_layout(file);
  if (!options.html.empty()) {
    if (!layout)
      fail(ErrorCode::invalid_argument, "{}: --html draws a stack's curve, and this is none", file.path());
    AtomicFile page(options.html);
    page.write(stack::curve_html(*layout, std::string(std::string(file.text("general.name", file.path())))));
    page.commit();
  }
  if (options.json) {
    auto json = gguf::to_json(file, describe);
    if (layout) {
      const auto numbers = stack::to_json(*layout);
      for (const char* key : {"linear_bytes", "steps", "largest_step"}) json[key] = numbers[key];
      json["stack"] = numbers;
    }
    if (options.graph) json["graph"] = graph::to_json(graph::load(file));
    if (graphs) json["graphs"] = offload::graphs_to_json(graphs->plan, graphs->count);
    fmt::print("{}", json_text(json));
    return;
  }
  fmt::print("{}", gguf::describe(file, describe));
  if (layout) fmt::print("\n{}", stack::describe(*layout));
  if (options.graph) fmt::print("\n{}", graph::describe(graph::load(file)));
  if (graphs) fmt::print("\n{}", offload::describe_graphs(graphs->plan, graphs->count));
}

}  // namespace

void add_inspect(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      program.add_subcommand("inspect", "show what is in a model file: its metadata, its tensors, its graph");
  add_model(*command, options->model);
  command->add_flag("--tensors", options->tensors, "every tensor: encoding, bytes, shape");
  command->add_flag("--graph", options->graph, "the op lists of the six subgraphs of a layer");
  command->add_flag("--graphs", options->graphs,
                    "the chunks of a prompt on a matrix engine and the graphs they share");
  command->add_option("--prompt", options->prompt, "graphs: tokens of the prompt")->capture_default_str();
  command->add_option("--chunk", options->chunk, "graphs: tokens of a chunk, 32 to 1024 (0: the fastest)")
      ->capture_default_str();
  command->add_flag("--full", options->full, "long arrays and texts in full");
  command->add_option("--html", options->html, "a stack's size-loss curve as a page")->type_name("FILE");
  add_output_flags(*command, options->files);
  command->add_flag("--json", options->json, "one JSON object instead of text");
  command->footer(
      "Example:\n  cairn inspect smollm2-135m --graph\n"
      "  cairn inspect smollm2-135m --graphs --prompt 1000");
  command->callback([options] { run(*options); });
}

}  // namespace cairn::cli
