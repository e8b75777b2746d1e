#include "measure/simulate.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "graph/model_shapes.hpp"
#include "quantize/scheme.hpp"

namespace cairn::measure {

void check(const SimulateOptions& options) {
  const auto* phone = offload::simulated::find_phone(options.device);
  if (!phone)
    fail(ErrorCode::invalid_argument, "simulated device '{}' is not known; there are {}", options.device,
         offload::simulated::phone_names());
  const graph::ModelShape* shape = graph::find_shape(options.shape);
  if (!shape)
    fail(ErrorCode::invalid_argument, "shape '{}' is not known; there are {}", options.shape,
         graph::shape_names());
  if (shape->experts != 0)
    fail(ErrorCode::unsupported, "{} is a mixture of experts, which simulated prefill does not know",
         shape->name);
  if (shape->delta_heads != 0)
    fail(ErrorCode::unsupported, "{} has a recurrent state, which simulated prefill does not know",
         shape->name);
  if (options.prompt == 0 || options.prompt > shape->context)
    fail(ErrorCode::invalid_argument, "a prompt of {} tokens: {} takes 1 to {}", options.prompt, shape->name,
         shape->context);
  offload::check_chunk(options.chunk);
  offload::shadow_inputs(0, options.prune);
}

SimulateResult simulate_prefill(const SimulateOptions& options) {
  check(options);
  const auto* phone = offload::simulated::find_phone(options.device);
  const graph::ModelShape* shape = graph::find_shape(options.shape);
  const offload::ModelSizes sizes(*shape);
  SimulateResult result;
  if (options.stage == offload::Stage::naive) {
    result.plan = {options.prompt, options.prompt, {options.prompt}, 0};
  } else {
    result.plan = offload::plan_chunks(options.prompt, options.chunk,
                                       offload::simulated_profile(*phone, sizes, options.prune));
  }
  const offload::TaskGraph graph =
      offload::simulated_tasks(*phone, sizes, result.plan.lengths, options.stage, options.prune);
  const auto scheduler = offload::make_scheduler(options.policy);
  result.run = offload::simulate(graph, *scheduler);
  offload::Timeline& timeline = result.run.timeline;
  timeline.title = fmt::format("{}, {} tokens, chunks of {}, {}, {}", shape->name, options.prompt,
                               result.plan.chunk, offload::name(options.policy), phone->name);
  timeline.npu = phone->npu;
  timeline.cpu = phone->cpu;
  result.makespan = timeline.makespan();
  result.tokens_per_second = options.prompt / result.makespan;
  result.decision_seconds = result.run.decision_seconds / static_cast<double>(result.run.decisions);
  result.inputs = static_cast<uint32_t>(sizes.layers * quantize::kInputs);
  if (options.stage == offload::Stage::outliers)
    for (const auto& layer : offload::shadow_inputs(sizes.layers, options.prune))
      result.shadow_inputs += static_cast<uint32_t>(std::count(layer.begin(), layer.end(), true));
  return result;
}

}  // namespace cairn::measure
