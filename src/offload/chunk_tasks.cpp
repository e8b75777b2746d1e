#include "offload/chunk_tasks.hpp"

#include <algorithm>
#include <optional>

namespace cairn::offload {

void ChunkTasks::begin(const Prompt& prompt, Products& products, Accelerator& accelerator,
                       const engine::Cancelled& cancelled) {
  products_ = &products;
  accelerator_ = &accelerator;
  take_length(prompt.length);
  tokens_.clear();
  for (size_t begin = 0; begin < prompt.tokens.size(); begin += length_) {
    const size_t count = std::min<size_t>(length_, prompt.tokens.size() - begin);
    const uint32_t chunk = chunks();
    if (runs_.size() == chunk)
      runs_.push_back(std::make_unique<ChunkRun>(place_.machine, place_.kernels, length_));
    runs_[chunk]->executor().begin(prompt.sequence, prompt.tokens.subspan(begin, count),
                                   prompt.position + static_cast<uint32_t>(begin));
    tokens_.push_back(count);
  }
  used_ = std::max<size_t>(used_, chunks());
  stored_.assign(chunks(), 0);
  compile(cancelled);
}

// Products that the device refuses become the CPU's; a device that refuses all of them is an error.
void ChunkTasks::compile(const engine::Cancelled& cancelled) {
  std::optional<ProductRefused> first;
  uint32_t refused = 0, taken = 0;
  for (uint32_t layer = 0; layer < place_.layers.size(); ++layer) {
    engine::throw_if(cancelled);
    for (size_t i = 0; i < quantize::kInputs; ++i) {
      const auto input = static_cast<Input>(i);
      if (product(layer, input).treatment.float_product) continue;
      try {
        for (const uint32_t chunk : {0u, chunks() - 1})
          products_->compiled(layer, input, graph_tokens(chunk), *accelerator_);
        ++taken;
      } catch (const ProductRefused& error) {
        if (!first) first = error;
        ++refused;
        products_->leave_to_cpu(layer, input);
      }
    }
  }
  if (refused == 0) return;
  if (taken == 0) throw ProductRefused(*first);
  if (place_.warn)
    place_.warn(fmt::format("{} ({} of {} products refused): the CPU computes those", first->what(), refused,
                            refused + taken));
}

void ChunkTasks::take_length(uint32_t length) {
  if (length_ == length) return;
  runs_.clear();
  used_ = 0;
  length_ = length;
}

uint64_t ChunkTasks::coming(size_t tokens, const Accelerator& accelerator, uint32_t length) {
  take_length(length);
  const size_t chunks = (tokens + length - 1) / length;
  if (chunks <= used_) return 0;
  // They are all alike; little of one is in memory before it runs.
  if (runs_.empty()) runs_.push_back(std::make_unique<ChunkRun>(place_.machine, place_.kernels, length));
  const ChunkRun& one = *runs_.front();
  uint64_t bytes = (chunks - used_) * (one.executor().scratch_bytes() + one.own_bytes());
  if (used_ == 0 && accelerator.traits().layout == ActivationLayout::rows) {
    size_t widest = 0;
    for (const LayerPlan& layer : place_.layers) {
      for (const cpu::Step& step : layer.products) {
        size_t rows = 0;
        for (const cpu::BoundOp& op : step.ops) rows += op.matrix.rows;
        widest = std::max(widest, step.ops.front().matrix.k + rows * sizeof(float));
      }
    }
    bytes += 2 * length * widest;  // what is handed over and back; a device works in as much
  }
  return bytes;
}

// Between two products the device reads none: what has been read since, or is to be given back, is taken
// over, unless shadow execution reads.
void ChunkTasks::move_weights() {
  if (place_.between) place_.between();
  if (place_.set == nullptr) return;
  const std::unique_lock lock(reading_, std::try_to_lock);
  if (lock.owns_lock()) place_.set->boundary();
}

// Devices that take tiles run any number of them; others have the chunk's one length, padded.
uint32_t ChunkTasks::graph_tokens(uint32_t chunk) const {
  if (takes_rows()) return length_;
  const auto lanes = static_cast<uint32_t>(place_.kernels.tile_tokens);
  return (static_cast<uint32_t>(tokens_[chunk]) + lanes - 1) / lanes * lanes;
}

TaskGraphShape ChunkTasks::shape() const {
  TaskGraphShape shape{.chunks = chunks(), .layers = static_cast<uint32_t>(place_.layers.size())};
  for (uint32_t layer = 0; layer < shape.layers; ++layer) {
    std::array<bool, quantize::kInputs> shadow{};
    for (size_t i = 0; i < shadow.size(); ++i)
      shadow[i] = products_->at(layer, static_cast<Input>(i)).has_shadow();
    shape.shadow.push_back(shadow);
  }
  shape.cpu_middle = true;
  return shape;
}

cpu::ChunkExecutor& ChunkTasks::finish(uint32_t chunk) {
  merge(chunk, static_cast<uint32_t>(place_.layers.size()) - 1, Input::down);
  return runs_[chunk]->executor();
}

uint64_t ChunkTasks::shadow_bytes() const {
  uint64_t total = 0;
  for (const auto& run : runs_) total += run->shadow_bytes();
  return total;
}

uint64_t ChunkTasks::scratch_bytes() const {
  uint64_t total = shadow_bytes();
  for (const auto& run : runs_) total += run->executor().scratch_bytes();
  return total;
}

void ChunkTasks::run(const Task& task) {
  const uint32_t chunk = task.chunk, layer = task.layer;
  const LayerPlan& plan = place_.layers[layer];
  switch (task.kind) {
    case TaskKind::attention_input:
      if (layer > 0) merge(chunk, layer - 1, Input::down);
      prepare(chunk, plan.attention_input, layer, Input::qkv, place_.cpu);
      break;
    case TaskKind::qkv:
      run_product(chunk, layer, Input::qkv);
      break;
    case TaskKind::attention:
      run_attention(chunk, layer);
      prepare(chunk, {}, layer, Input::attention_output, place_.cpu);
      break;
    case TaskKind::attention_output:
      run_product(chunk, layer, Input::attention_output);
      break;
    case TaskKind::ffn_input:
      merge(chunk, layer, Input::attention_output);
      prepare(chunk, plan.ffn_input, layer, Input::gate_up, place_.cpu);
      break;
    case TaskKind::ffn:
      if (cut(layer)) {
        run_product(chunk, layer, Input::gate_up);
        break;
      }
      multiply(chunk, layer, Input::gate_up);
      prepare(chunk, plan.ffn_middle, layer, Input::down, place_.npu, &product(layer, Input::gate_up));
      run_product(chunk, layer, Input::down);
      break;
    case TaskKind::ffn_middle:
      merge(chunk, layer, Input::gate_up);
      prepare(chunk, plan.ffn_middle, layer, Input::down, place_.cpu);
      break;
    case TaskKind::ffn_down:
      run_product(chunk, layer, Input::down);
      break;
    case TaskKind::shadow_qkv:
      run_shadow(chunk, layer, Input::qkv);
      break;
    case TaskKind::shadow_attention_output:
      run_shadow(chunk, layer, Input::attention_output);
      break;
    case TaskKind::shadow_gate_up:
      run_shadow(chunk, layer, Input::gate_up);
      break;
    case TaskKind::shadow_down:
      run_shadow(chunk, layer, Input::down);
      break;
    case TaskKind::prepare:
    case TaskKind::layer:
    case TaskKind::count:
      break;
  }
}

void ChunkTasks::run_product(uint32_t chunk, uint32_t layer, Input input) {
  multiply(chunk, layer, input);
  const Product& of = product(layer, input);
  if (of.treatment.float_product) return;
  place_.npu.run(runs_[chunk]->executor().tiles(), [&](size_t, size_t index) { collect(chunk, of, index); });
}

void ChunkTasks::multiply(uint32_t chunk, uint32_t layer, Input input) {
  move_weights();
  const std::shared_lock reading(reading_);
  ChunkRun& run = *runs_[chunk];
  Product& of = product(layer, input);
  if (of.treatment.float_product) {
    run.executor().run_step(of.step, place_.npu);
    return;
  }
  const uint32_t tokens = graph_tokens(chunk);
  AcceleratorGraph& graph = products_->compiled(layer, input, tokens, *accelerator_);
  try {
    if (takes_rows()) {
      results_.run(graph, tokens, run, of, place_.kernels);
    } else {
      std::vector<float*> outputs;
      for (size_t i = 0; i < of.linears.size(); ++i) outputs.push_back(run.output(of, i));
      graph.run(run.values(), outputs);
    }
  } catch (const Error& error) {
    throw DeviceFailure(error.code(), error.what());
  }
}

void ChunkTasks::collect(uint32_t chunk, const Product& of, size_t index) {
  if (of.treatment.float_product) return;
  if (takes_rows()) results_.take(*runs_[chunk], of, place_.kernels, index);
  runs_[chunk]->finish(of, index);
}

void ChunkTasks::prepare(uint32_t chunk, Steps steps, uint32_t layer, Input input, ThreadPool& pool,
                         const Product* collected) {
  ChunkRun& run = *runs_[chunk];
  cpu::ChunkExecutor& executor = run.executor();
  const auto floats = [](const cpu::Step& step) { return step.kind == cpu::StepKind::floats; };
  while (!std::ranges::all_of(steps, floats)) {
    if (collected != nullptr)
      pool.run(executor.tiles(), [&](size_t, size_t index) { collect(chunk, *collected, index); });
    collected = nullptr;
    executor.run_step(steps.front(), pool);
    steps = steps.subspan(1);
  }
  const Product& of = product(layer, input);
  run.begin_prepare(of, takes_rows() ? length_ : 0);
  pool.run(executor.tiles(), [&](size_t thread, size_t index) {
    if (collected != nullptr) collect(chunk, *collected, index);
    for (const cpu::Step& step : steps) executor.run_floats(step, index);
    run.prepare(of, thread, index);
  });
}

// A chunk's attention reads the keys of all before it, whose own attention may still wait: theirs are stored
// first.
void ChunkTasks::run_attention(uint32_t chunk, uint32_t layer) {
  for (uint32_t i = 0; i <= chunk; ++i) {
    if (stored_[i] > layer) continue;
    merge(i, layer, Input::qkv);
    for (const cpu::Step& step : place_.layers[layer].attention) {
      if (step.kind == cpu::StepKind::attention) {
        runs_[i]->executor().store_keys(step, place_.cpu);
        break;
      }
      runs_[i]->executor().run_step(step, place_.cpu);
    }
    stored_[i] = layer + 1;
  }
  for (const cpu::Step& step : place_.layers[layer].attention) {
    if (step.kind == cpu::StepKind::attention) runs_[chunk]->executor().attend(step, place_.cpu);
  }
}

void ChunkTasks::run_shadow(uint32_t chunk, uint32_t layer, Input input) {
  place_.file.require_whole();  // cold columns are about to be read from it
  const std::shared_lock reading(reading_);
  shadowed_.elements += runs_[chunk]->outliers();
  const ShadowColumns::Counts counts = runs_[chunk]->run_shadow(product(layer, input), place_.cpu);
  shadowed_.columns.hot += counts.hot;
  shadowed_.columns.cold += counts.cold;
  shadowed_.columns.cold_bytes += counts.cold_bytes;
}

void ChunkTasks::merge(uint32_t chunk, uint32_t layer, Input input) {
  runs_[chunk]->merge(product(layer, input), place_.cpu);
}

}  // namespace cairn::offload
