#include "offload/tasks.hpp"

#include <cmath>

#include "base/error.hpp"
#include "quantize/scheme.hpp"

namespace cairn::offload {
namespace {

constexpr size_t kMostTasksOfALayer = 12;  // six subgraphs, ffn_middle and ffn_down, four shadows

size_t index(quantize::Input input) {
  return static_cast<size_t>(input);
}

// Adds one chunk after the other. `products[layer]` gathers what the attention of later chunks waits for: the
// keys and values of all earlier chunks, shadow work included.
class Builder {
 public:
  Builder(const TaskGraphShape& shape, const TaskSeconds& times)
      : shape_(shape), times_(times), products_(shape.layers) {}

  void add_chunk(uint32_t chunk) {
    chunk_ = chunk;
    layer_ = 0;
    std::vector<uint32_t> before;
    if (shape_.prepare) before = {add(TaskKind::prepare, Processor::cpu, {})};
    for (layer_ = 0; layer_ < shape_.layers; ++layer_) before = add_layer(before);
  }
  TaskGraph take() {
    graph_.finish();
    return std::move(graph_);
  }

 private:
  uint32_t add(TaskKind kind, Processor processor, const std::vector<uint32_t>& predecessors) {
    const uint32_t task = graph_.add({chunk_, layer_, kind, processor, times_.seconds(chunk_, layer_, kind)});
    for (uint32_t predecessor : predecessors) graph_.depend(task, predecessor);
    return task;
  }
  // The int8 products of an input on the NPU and, where it has any, its shadow work beside them: whoever
  // reads the result needs both.
  std::vector<uint32_t> add_products(TaskKind kind, TaskKind shadow_kind, bool shadow,
                                     const std::vector<uint32_t>& predecessors) {
    std::vector<uint32_t> both = {add(kind, Processor::npu, predecessors)};
    if (shadow) both.push_back(add(shadow_kind, Processor::cpu, predecessors));
    return both;
  }
  // What the next layer waits for.
  std::vector<uint32_t> add_layer(const std::vector<uint32_t>& before) {
    using quantize::Input;
    const std::array<bool, 4> shadow = shape_.shadow.empty() ? std::array<bool, 4>{} : shape_.shadow[layer_];
    const uint32_t input = add(TaskKind::attention_input, Processor::cpu, before);
    const auto qkv = add_products(TaskKind::qkv, TaskKind::shadow_qkv, shadow[index(Input::qkv)], {input});
    auto& products = products_[layer_];
    products.insert(products.end(), qkv.begin(), qkv.end());
    const uint32_t attention = add(TaskKind::attention, Processor::cpu, products);
    const auto output = add_products(TaskKind::attention_output, TaskKind::shadow_attention_output,
                                     shadow[index(Input::attention_output)], {attention});
    const uint32_t ffn_input = add(TaskKind::ffn_input, Processor::cpu, output);
    auto ffn =
        add_products(TaskKind::ffn, TaskKind::shadow_gate_up, shadow[index(Input::gate_up)], {ffn_input});
    if (!cuts_feed_forward(shadow) && !(shape_.cut && shape_.cpu_middle)) return ffn;
    if (shape_.cpu_middle) ffn = {add(TaskKind::ffn_middle, Processor::cpu, ffn)};
    return add_products(TaskKind::ffn_down, TaskKind::shadow_down, shadow[index(Input::down)], ffn);
  }

  const TaskGraphShape& shape_;
  const TaskSeconds& times_;
  std::vector<std::vector<uint32_t>> products_;
  TaskGraph graph_;
  uint32_t chunk_ = 0, layer_ = 0;
};

}  // namespace

uint32_t TaskGraph::add(const Task& task) {
  if (!(task.seconds >= 0) || !std::isfinite(task.seconds))
    fail(ErrorCode::invalid_argument, "task graph: {} of layer {}, chunk {} takes {} seconds",
         offload::name(task.kind), task.layer, task.chunk, task.seconds);
  tasks_.push_back(task);
  predecessors_.emplace_back();
  successors_.emplace_back();
  return static_cast<uint32_t>(tasks_.size() - 1);
}

void TaskGraph::depend(uint32_t task, uint32_t predecessor) {
  if (task >= tasks_.size() || predecessor >= tasks_.size())
    fail(ErrorCode::invalid_argument, "task graph: task {} cannot wait for {}, there are {}", task,
         predecessor, tasks_.size());
  predecessors_[task].push_back(predecessor);
  successors_[predecessor].push_back(task);
}

void TaskGraph::finish() {
  std::vector<uint32_t> ready;
  std::vector<size_t> waiting(tasks_.size());
  for (uint32_t task = 0; task < tasks_.size(); ++task) {
    waiting[task] = predecessors_[task].size();
    if (waiting[task] == 0) ready.push_back(task);
  }
  size_t done = 0;
  for (; !ready.empty(); ++done) {
    const uint32_t task = ready.back();
    ready.pop_back();
    for (uint32_t successor : successors_[task])
      if (--waiting[successor] == 0) ready.push_back(successor);
  }
  if (done == tasks_.size()) return;
  for (uint32_t task = 0; task < tasks_.size(); ++task)
    if (waiting[task] > 0)
      fail(ErrorCode::invalid_argument, "task graph: a cycle runs through or before {} of layer {}, chunk {}",
           offload::name(tasks_[task].kind), tasks_[task].layer, tasks_[task].chunk);
}

std::span<const uint32_t> TaskGraph::predecessors(uint32_t task) const {
  return predecessors_.at(task);
}

std::span<const uint32_t> TaskGraph::successors(uint32_t task) const {
  return successors_.at(task);
}

bool cuts_feed_forward(const std::array<bool, 4>& shadow) {
  return shadow[index(quantize::Input::gate_up)] || shadow[index(quantize::Input::down)];
}

TaskGraph make_task_graph(const TaskGraphShape& shape, const TaskSeconds& times) {
  if (shape.chunks == 0 || shape.layers == 0)
    fail(ErrorCode::invalid_argument, "task graph: {} chunks of {} layers", shape.chunks, shape.layers);
  if (!shape.shadow.empty() && shape.shadow.size() != shape.layers)
    fail(ErrorCode::invalid_argument, "task graph: shadow work of {} layers for a model of {}",
         shape.shadow.size(), shape.layers);
  if (uint64_t{shape.chunks} * shape.layers > UINT32_MAX / kMostTasksOfALayer)
    fail(ErrorCode::invalid_argument, "task graph: {} chunks of {} layers are too many", shape.chunks,
         shape.layers);
  Builder builder(shape, times);
  for (uint32_t chunk = 0; chunk < shape.chunks; ++chunk) builder.add_chunk(chunk);
  return builder.take();
}

}  // namespace cairn::offload
