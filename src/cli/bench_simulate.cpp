#include "cli/bench_simulate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/atomic_file.hpp"
#include "base/error.hpp"
#include "measure/simulate.hpp"

namespace cairn::cli {
namespace {

using offload::Policy;
using offload::Processor;
using offload::Stage;

std::vector<Policy> policies(const SimulateFlags& flags, Stage stage) {
  // Before the last stage of the paper's, both processors work as tasks come.
  if (flags.policies.empty()) return {stage == Stage::outliers ? Policy::look_ahead : Policy::overlap};
  std::vector<Policy> parsed;
  for (const std::string& name : flags.policies) parsed.push_back(offload::parse_policy(name));
  return parsed;
}

nlohmann::ordered_json to_json(const measure::SimulateOptions& options,
                               const measure::SimulateResult& result) {
  const offload::Timeline& timeline = result.run.timeline;
  return {{"device", options.device},
          {"shape", options.shape},
          {"stage", offload::name(options.stage)},
          {"policy", offload::name(options.policy)},
          {"prompt", options.prompt},
          {"chunk", result.plan.chunk},
          {"chunks", result.plan.lengths.size()},
          {"last_chunk", result.plan.lengths.back()},
          {"padding", result.plan.padding()},
          {"prune", options.prune},
          {"inputs", result.inputs},
          {"shadow_inputs", result.shadow_inputs},
          {"prefill_tok_s", result.tokens_per_second},
          {"makespan_s", result.makespan},
          {"npu_bubble", timeline.bubble(Processor::npu)},
          {"cpu_bubble", timeline.bubble(Processor::cpu)},
          {"npu_busy_s", timeline.busy(Processor::npu)},
          {"cpu_busy_s", timeline.busy(Processor::cpu)},
          {"tasks", timeline.events.size()},
          {"decision_us", 1e6 * result.decision_seconds}};
}

void write(const std::string& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

void write_timeline(const SimulateFlags& flags, const std::vector<offload::Timeline>& timelines) {
  if (!flags.timeline.ends_with(".svg")) return write(flags.timeline, offload::gantt_html(timelines));
  double from = 0, to = 0;
  for (const auto& timeline : timelines) to = std::max(to, timeline.makespan());
  if (!flags.span.empty()) from = flags.span[0] * 1e-3, to = flags.span[1] * 1e-3;
  write(flags.timeline, offload::gantt_svg(timelines, from, to));
}

}  // namespace

void add_simulate_flags(CLI::App& command, SimulateFlags& flags) {
  command.add_option(
      "--simulate", flags.device,
      "a prefill on a simulated phone instead, on a virtual clock: " + offload::simulated::phone_names());
  command.add_option("--shape", flags.shape, "simulate: whose shape, as synth takes it")
      ->capture_default_str();
  command
      .add_option("--policy", flags.policies,
                  "simulate, prefill: in-order, pairs, overlap, out-of-order (max-C) or look-ahead "
                  "(default); several "
                  "with commas")
      ->delimiter(',');
  command
      .add_option("--stage", flags.stage,
                  "simulate: naive (graphs made for the prompt, int8 in groups), chunks (shared graphs) or "
                  "outliers (one scale a tensor, shadow outliers)")
      ->capture_default_str();
  command.add_option("--prune", flags.prune, "simulate: share of the inputs without shadow outliers")
      ->capture_default_str();
  command.add_option("--trace", flags.trace, "simulate: write a Chrome/Perfetto trace (of one policy)");
  command.add_option("--timeline", flags.timeline,
                     "simulate: write a picture of all runs, HTML, or SVG if the name ends so");
  add_output_flags(command, flags.files);
  command.add_option("--span", flags.span, "simulate: the part of an SVG timeline to draw, in ms")
      ->expected(2)
      ->type_name("FROM TO");
}

void run_simulation(const SimulateFlags& flags) {
  measure::SimulateOptions options{.device = flags.device,
                                   .shape = flags.shape,
                                   .prompt = flags.prompt,
                                   .chunk = flags.chunk,
                                   .stage = offload::parse_stage(flags.stage),
                                   .prune = flags.prune};
  const std::vector<Policy> wanted = policies(flags, options.stage);
  if (!flags.trace.empty() && wanted.size() != 1)
    fail(ErrorCode::invalid_argument, "bench: --trace holds one run, {} policies are named", wanted.size());
  if (!flags.span.empty() && !(flags.span[0] >= 0 && flags.span[1] > flags.span[0]))
    fail(ErrorCode::invalid_argument, "bench: --span from {} to {} ms", flags.span[0], flags.span[1]);
  flags.files.check({flags.trace, flags.timeline}, {});
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  std::vector<offload::Timeline> timelines;
  for (Policy policy : wanted) {
    options.policy = policy;
    const measure::SimulateResult result = measure::simulate_prefill(options);
    json.push_back(to_json(options, result));
    timelines.push_back(result.run.timeline);
    if (flags.json) continue;
    fmt::print("{}\n", result.run.timeline.title);
    fmt::print("  prefill   {:8.1f} tok/s   {:.4f} s, {} chunks, {} of {} inputs with shadow outliers\n",
               result.tokens_per_second, result.makespan, result.plan.lengths.size(), result.shadow_inputs,
               result.inputs);
    fmt::print("  idle      {:8.2f} %       of the NPU's time, {:.1f} % of the CPU's\n",
               100 * result.run.timeline.bubble(Processor::npu),
               100 * result.run.timeline.bubble(Processor::cpu));
    fmt::print("  decision  {:8.2f} µs      this machine's time for each of {} tasks\n",
               1e6 * result.decision_seconds, result.run.timeline.events.size());
  }
  if (flags.json) fmt::print("{}\n", (json.size() == 1 ? json[0] : json).dump(2));
  if (!flags.trace.empty()) write(flags.trace, offload::chrome_trace(timelines[0]));
  if (!flags.timeline.empty()) write_timeline(flags, timelines);
}

}  // namespace cairn::cli
