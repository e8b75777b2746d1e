#include "measure/phone_tables.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "graph/model_shapes.hpp"
#include "measure/simulate.hpp"
#include "offload/simulated/times.hpp"

namespace cairn::measure {
namespace {

using offload::ModelSizes;
using offload::Processor;
using offload::Timeline;
using offload::simulated::Phone;
using offload::simulated::PhoneConstants;

// MLLM's weights of the CPU: 4 bits and half a bit of scales.
constexpr double kDecodeBits = 4.5;

const graph::ModelShape& shape_of(const std::string& name) {
  const graph::ModelShape* shape = graph::find_shape(name);
  if (!shape)
    fail(ErrorCode::invalid_argument, "model '{}' is not known; there are {}", name, graph::shape_names());
  return *shape;
}

SimulateResult prefill(const TableOptions& options, const PhoneConstants& phone, std::string_view model,
                       uint32_t prompt, offload::Policy policy) {
  return simulate_prefill({.device = std::string(phone.name),
                           .shape = std::string(model),
                           .prompt = prompt,
                           .chunk = options.chunk,
                           .policy = policy,
                           .prune = options.prune});
}

double joules_of(const PhoneConstants& phone, const Timeline& timeline) {
  return Phone(phone).joules(timeline.makespan(), timeline.busy(Processor::npu),
                             timeline.busy(Processor::cpu));
}

double decode_bytes(const graph::ModelShape& shape) {
  const ModelSizes sizes(shape);
  const double weights = static_cast<double>(sizes.layer_weights()) * sizes.layers +
                         static_cast<double>(shape.vocabulary) * shape.embedding;
  return weights * kDecodeBits / 8;
}

// Calls row(phone, model's shape, prompt) for each of them.
template <class Row>
void for_each_run(const TableOptions& options, const Row& row) {
  for (const std::string& phone : options.phones)
    for (const std::string& model : options.models)
      for (uint32_t prompt : options.prompts) row(phone_named(phone), shape_of(model), prompt);
}

const PublishedTask& task_named(std::string_view name) {
  const auto tasks = published_tasks();
  return *std::find_if(tasks.begin(), tasks.end(), [=](const PublishedTask& t) { return t.name == name; });
}

}  // namespace

const PhoneConstants& phone_named(const std::string& name) {
  const PhoneConstants* phone = offload::simulated::find_phone(name);
  if (!phone)
    fail(ErrorCode::invalid_argument, "simulated phone '{}' is not known; there are {}", name,
         offload::simulated::phone_names());
  return *phone;
}

void check(const TableOptions& options) {
  const std::vector<std::string> any{"qwen1.5-1.8b"};
  const std::vector<uint32_t> one{1};
  for (const std::string& phone : options.phones) phone_named(phone);
  for (const std::string& model : options.models.empty() ? any : options.models)
    for (uint32_t prompt : options.prompts.empty() ? one : options.prompts)
      check(SimulateOptions{.shape = std::string(shape_of(model).name),
                            .prompt = prompt,
                            .chunk = options.chunk,
                            .prune = options.prune});
}

double llama_cpp_seconds(const PhoneConstants& phone, std::string_view model, uint32_t prompt) {
  const auto* at = std::find(kPaperModels.begin(), kPaperModels.end(), model);
  if (at == kPaperModels.end()) return 0;
  const PublishedTask& task = task_named(prompt < 1024 ? "droidtask-short" : "2wikimqa");
  const double slower = phone_named("snapdragon-8gen3").flop_rate / phone.flop_rate;
  const auto& times = task.of_model[static_cast<size_t>(at - kPaperModels.begin())];
  return times.llama_cpp_prefill * prompt / task.prompt() * slower;
}

std::vector<SpeedRow> speed_rows(const TableOptions& options) {
  std::vector<SpeedRow> rows;
  for_each_run(options, [&](const PhoneConstants& phone, const graph::ModelShape& shape, uint32_t prompt) {
    SpeedRow row;
    row.phone = phone.name;
    row.model = shape.name;
    row.prompt = prompt;
    const SimulateResult result = prefill(options, phone, shape.name, prompt, options.policy);
    row.tok_s = result.tokens_per_second;
    row.over_llama_cpp = llama_cpp_seconds(phone, shape.name, prompt) / result.makespan;
    for (const PublishedSpeed& speed : published_speeds()) {
      if (speed.phone != phone.name || speed.model != shape.name || speed.prompt != prompt) continue;
      row.published = speed.tok_s;
      row.source = speed.source;
    }
    rows.push_back(row);
  });
  return rows;
}

std::vector<StageRow> stage_rows(const TableOptions& options) {
  using offload::Policy;
  using offload::Stage;
  const std::array<std::pair<Stage, Policy>, 4> stages = {{{Stage::naive, Policy::overlap},
                                                           {Stage::chunks, Policy::overlap},
                                                           {Stage::outliers, Policy::pairs},
                                                           {Stage::outliers, options.policy}}};
  std::vector<StageRow> rows;
  for_each_run(options, [&](const PhoneConstants& phone, const graph::ModelShape& shape, uint32_t prompt) {
    const PublishedStages* published = nullptr;
    for (const PublishedStages& of_model : published_stages())
      if (of_model.model == shape.name && prompt == 512 && phone.name == phone_named("redmi-k70-pro").name)
        published = &of_model;
    for (size_t i = 0; i < stages.size(); ++i) {
      StageRow row;
      row.phone = phone.name;
      row.model = shape.name;
      row.prompt = prompt;
      row.stage = stages[i].first;
      row.policy = stages[i].second;
      row.tok_s = simulate_prefill({.device = std::string(phone.name),
                                    .shape = std::string(shape.name),
                                    .prompt = prompt,
                                    .chunk = options.chunk,
                                    .stage = row.stage,
                                    .policy = row.policy,
                                    .prune = options.prune})
                      .tokens_per_second;
      if (published) row.published = published->tok_s[i];
      if (i > 0) row.step = row.tok_s / rows.back().tok_s;
      if (i > 0 && published) row.published_step = row.published / rows.back().published;
      rows.push_back(row);
    }
  });
  return rows;
}

std::vector<TaskRow> task_rows(const TableOptions& options) {
  const PhoneConstants& phone = phone_named(options.phones.at(0));
  const bool measured = phone.name == phone_named("redmi-k70-pro").name;
  std::vector<TaskRow> rows;
  for (const PublishedTask& task : published_tasks())
    for (const std::string& name : options.models) {
      const graph::ModelShape& shape = shape_of(name);
      TaskRow row;
      row.task = task.name;
      row.model = shape.name;
      row.prompt = task.prompt();
      row.output = task.output();
      row.prefill = prefill(options, phone, shape.name, row.prompt, options.policy).makespan;
      row.decode = row.output * Phone(phone).decode(decode_bytes(shape));
      const auto* at = std::find(kPaperModels.begin(), kPaperModels.end(), shape.name);
      if (measured && at != kPaperModels.end()) {
        const auto& times = task.of_model[static_cast<size_t>(at - kPaperModels.begin())];
        row.published_prefill = times.prefill;
        row.published_decode = times.decode;
      }
      rows.push_back(row);
    }
  return rows;
}

std::vector<EnergyRow> energy_rows(const TableOptions& options) {
  std::vector<EnergyRow> rows;
  for_each_run(options, [&](const PhoneConstants& phone, const graph::ModelShape& shape, uint32_t prompt) {
    EnergyRow row;
    row.phone = phone.name;
    row.model = shape.name;
    row.prompt = prompt;
    const SimulateResult result = prefill(options, phone, shape.name, prompt, options.policy);
    row.joules = joules_of(phone, result.run.timeline);
    row.watts = row.joules / result.makespan;
    const double cpu_seconds = llama_cpp_seconds(phone, shape.name, prompt);
    row.saving = phone.cpu_alone_watts * cpu_seconds / row.joules;
    for (const PublishedRanges& ranges : published_ranges())
      if (ranges.phone == phone.name && (prompt == 64 || prompt == 1024))
        row.published = prompt == 64 ? ranges.joules_64 : ranges.joules_1024;
    rows.push_back(row);
  });
  return rows;
}

MergeShares merge_shares(const TableOptions& options) {
  const PhoneConstants& phone = phone_named(options.phones.at(0));
  const graph::ModelShape& shape = shape_of(options.models.at(0));
  TableOptions all = options;
  all.prune = 0;
  const SimulateResult with = prefill(all, phone, shape.name, options.prompts.at(0), options.policy);
  PhoneConstants free = phone;
  free.merge = 0;
  const auto scheduler = offload::make_scheduler(options.policy);
  const Timeline without = simulate(offload::simulated_tasks(free, ModelSizes(shape), with.plan.lengths,
                                                             offload::Stage::outliers, 0),
                                    *scheduler)
                               .timeline;
  return {1 - without.makespan() / with.makespan,
          1 - joules_of(phone, without) / joules_of(phone, with.run.timeline)};
}

std::vector<ScheduleRow> schedule_rows(const TableOptions& options) {
  using offload::Policy;
  std::vector<ScheduleRow> rows;
  for_each_run(options, [&](const PhoneConstants& phone, const graph::ModelShape& shape, uint32_t prompt) {
    for (Policy policy :
         {Policy::in_order, Policy::pairs, Policy::overlap, Policy::out_of_order, Policy::look_ahead}) {
      const SimulateResult result = prefill(options, phone, shape.name, prompt, policy);
      const Timeline& timeline = result.run.timeline;
      rows.push_back({phone.name, shape.name, prompt, policy, result.tokens_per_second,
                      timeline.bubble(Processor::npu), timeline.waiting()});
    }
  });
  return rows;
}

std::vector<FormRow> form_rows(const TableOptions& options) {
  using offload::Form;
  std::vector<FormRow> rows;
  for_each_run(options, [&](const PhoneConstants& phone, const graph::ModelShape& shape, uint32_t prompt) {
    const ModelSizes sizes(shape);
    const auto lengths = prefill(options, phone, shape.name, prompt, offload::Policy::in_order).plan.lengths;
    for (size_t i = 0; i < static_cast<size_t>(Form::count); ++i) {
      const Form form = static_cast<Form>(i);
      const auto scheduler = offload::make_scheduler(options.policy);
      const Timeline timeline =
          simulate(offload::form_tasks(phone, sizes, lengths, form, options.prune), *scheduler).timeline;
      offload::Crossings layer =
          crossings(sizes, form, lengths.back(), prompt > lengths.back() ? prompt - lengths.back() : 0);
      layer = {layer.graphs / sizes.layers, layer.in / sizes.layers, layer.out / sizes.layers};
      rows.push_back({phone.name, shape.name, prompt, form, layer, crossings(sizes, form, lengths),
                      prompt / timeline.makespan(), timeline.bubble(Processor::npu),
                      timeline.busy(Processor::cpu) / timeline.makespan(), joules_of(phone, timeline)});
    }
  });
  return rows;
}

void Agreement::add(double simulated, double published) {
  if (!(published > 0)) return;
  const double ratio = simulated / published;
  logs_ += std::log(ratio);
  mean = std::exp(logs_ / static_cast<double>(++count));
  if (std::abs(std::log(ratio)) > std::abs(std::log(furthest))) furthest = ratio;
}

}  // namespace cairn::measure
