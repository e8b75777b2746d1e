#include <algorithm>
#include <cstring>

#include "device/cpu/executor.hpp"

namespace cairn::device::cpu {
namespace {

using graph::OpKind;
using graph::Slot;

constexpr size_t kPanelBytes = 192 << 10;  // of weights that stay in the second-level cache
constexpr size_t kMostPanelRows = 192;
constexpr size_t kFilledRows = 8;  // of a panel, in one call: rows alone end in parts of vectors

size_t index_of(Slot slot) {
  return static_cast<size_t>(slot);
}
size_t round_up(size_t n, size_t step) {
  return (n + step - 1) / step * step;
}

// Hands out parts of one buffer, cache line by cache line; with no base it only counts.
class Carver {
 public:
  explicit Carver(char* base) : base_(base) {}
  template <class T>
  T* take(size_t count) {
    T* p = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + used_);
    used_ += round_up(count * sizeof(T), 64);
    return p;
  }
  size_t used() const { return used_; }
  void rewind(size_t to) { used_ = to; }

 private:
  char* base_;
  size_t used_ = 0;
};

// Tiles of queries in one call: enough heads to be worth the keys' conversion, few enough to share among
// threads. It must not depend on their number: blocks of keys are rounded together, and results shall not
// change with it.
size_t query_tiles(const kernels::AttentionShape& shape) {
  return std::clamp<size_t>(6 / shape.group, 1, kernels::kMostQueryTiles);
}

bool is_quantized(const Plan& plan, Slot slot) {
  const auto in = [&plan, slot](const std::vector<Step>& steps) {
    return std::any_of(steps.begin(), steps.end(), [&plan, slot](const Step& step) {
      // Exact rows of a stack read the usual form.
      return step.integer && (!step.planes || plan.any_exact()) && step.ops.front().op.input == slot;
    });
  };
  return in(plan.layers) || in(plan.head);
}

// The widest input of a step of planes, and whether any of them has float products.
std::pair<size_t, bool> widest_planes(const Plan& plan) {
  size_t k = 0;
  bool floats = false;
  for (const std::vector<Step>* steps : {&plan.layers, &plan.head}) {
    for (const Step& step : *steps) {
      if (!step.planes) continue;
      k = std::max(k, step.ops.front().matrix.k);
      floats |= !step.integer;
    }
  }
  return {k, floats};
}

bool uses_codes4(const kernels::GemmKernels& gemm, const Matrix& matrix) {
  return matrix.encoding->unpack4 != nullptr && (gemm.uses_codes4 || matrix.encoding->unpack8 == nullptr);
}

}  // namespace

ChunkExecutor::ChunkExecutor(const Machine& machine, uint32_t most_tokens)
    : machine_(machine),
      tile_tokens_(machine.gemm.tile_tokens),
      most_tiles_((most_tokens + tile_tokens_ - 1) / tile_tokens_) {
  const auto lay_out = [&](Carver& carver) {
    const auto slot = [&](Slot s) {
      const size_t width = machine_.model.width(s);
      // A product writes whole blocks of tile_rows rows.
      strides_[index_of(s)] = round_up(width, machine_.gemm.tile_rows) * tile_tokens_;
      slots_[index_of(s)] = carver.take<float>(most_tiles_ * strides_[index_of(s)]);
      if (!is_quantized(machine_.plan, s)) return;
      const size_t groups = width / kernels::kGroup * tile_tokens_ * most_tiles_;
      quantized_[index_of(s)].values = carver.take<uint8_t>(width * tile_tokens_ * most_tiles_);
      quantized_[index_of(s)].scales = carver.take<float>(groups);
      quantized_[index_of(s)].sums = carver.take<float>(groups);
    };
    for (const Slot s : {Slot::hidden, Slot::branch, Slot::branch2, Slot::normed}) {
      if (s != Slot::branch2 || uses(machine_.plan, s)) slot(s);
    }
    for (size_t i = 0; i < machine_.plan.ropes.size(); ++i) {
      const size_t table = machine_.plan.ropes[i].dims / 2 * tile_tokens_ * most_tiles_;
      cosines_.push_back(carver.take<float>(table));
      sines_.push_back(carver.take<float>(table));
    }
    // Attention is over before the feed-forward part begins: both use the same memory.
    const size_t shared = carver.used();
    for (const Slot s : {Slot::query, Slot::key, Slot::value, Slot::context}) slot(s);
    const size_t attention_end = carver.used();
    carver.rewind(shared);
    for (const Slot s : {Slot::gate, Slot::up}) {
      if (uses(machine_.plan, s)) slot(s);
    }
    carver.rewind(std::max(attention_end, carver.used()));
    if (const auto [k, floats] = widest_planes(machine_.plan); k > 0) {
      planes_values_ = carver.take<uint8_t>(most_tiles_ * k * tile_tokens_);
      planes_scales_ = carver.take<float>(most_tiles_ * tile_tokens_);
      if (floats) planes_rotated_ = carver.take<float>(most_tiles_ * k * tile_tokens_);
    }
    return carver.used();
  };
  Carver count(nullptr);
  const size_t bytes = lay_out(count);
  memory_ = Buffer(bytes);
  cosines_.clear(), sines_.clear();
  Carver carver(memory_.as<char>());
  lay_out(carver);

  size_t most_k = 0;
  for (const std::vector<Step>* steps : {&machine_.plan.layers, &machine_.plan.head}) {
    for (const Step& step : *steps) {
      if (step.kind == StepKind::linears) most_k = std::max(most_k, step.ops.front().matrix.k);
    }
  }
  size_t most_values = 0, most_rows = 0;
  for (size_t k = kernels::kGroup; k <= most_k; k += kernels::kGroup) {
    most_values = std::max(most_values, panel_rows(k) * k);
    most_rows = std::max(most_rows, panel_rows(k));
  }
  most_values = std::max(most_values, panel_rows(most_k) * most_k);
  // Planes come in whole tiles of rows, and those in a panel of whole tile_rows.
  if (machine_.plan.set != nullptr)
    most_values = std::max(most_values, round_up(kernels::kPlaneRows, machine_.gemm.tile_rows) * most_k);
  most_rows = std::max(most_rows, panel_rows(most_k));
  const bool any_float = std::any_of(machine_.plan.layers.begin(), machine_.plan.layers.end(),
                                     [](const Step& s) { return s.kind == StepKind::linears && !s.integer; });
  const kernels::AttentionShape shape = attention_shape(machine_.model.parameters, graph::Op{});
  threads_.resize(machine_.pool.threads());
  for (ThreadScratch& t : threads_) {
    const auto lay_out_thread = [&](Carver& c) {
      t.panel.values = c.take<int8_t>(most_values);
      t.panel.corrections = c.take<int32_t>(most_values / kernels::kGroup);
      t.panel.scales = c.take<float>(most_values / kernels::kGroup);
      t.panel.offsets = c.take<float>(most_values / kernels::kGroup);
      t.row = c.take<float>(any_float ? most_values : most_k);
      t.out = c.take<float>(most_rows * tile_tokens_);
      t.residual = c.take<float>(most_rows * tile_tokens_);
      t.attention = c.take<float>(machine_.attention.tiles_scratch(shape, query_tiles(shape)));
      if (machine_.plan.set != nullptr) {
        t.rotated = c.take<float>(most_k * tile_tokens_);
        // A panel has up to tile_rows − 1 rows more.
        t.identity = c.take<float>((kernels::kPlaneRows + machine_.gemm.tile_rows) * tile_tokens_);
      }
      return c.used();
    };
    Carver measure(nullptr);
    t.memory = Buffer(lay_out_thread(measure));
    Carver c(t.memory.as<char>());
    lay_out_thread(c);
  }
}

uint64_t ChunkExecutor::scratch_bytes() const {
  uint64_t total = memory_.bytes();
  for (const ThreadScratch& t : threads_) total += t.memory.bytes();
  return total;
}

// Rows of a panel: a multiple of tile_rows whose values fit kPanelBytes.
size_t ChunkExecutor::panel_rows(size_t k) const {
  const size_t step = machine_.gemm.tile_rows;
  return std::clamp(kPanelBytes / std::max<size_t>(k, 1) / step * step, step, kMostPanelRows / step * step);
}

float* ChunkExecutor::tile(Slot slot, size_t index) const {
  return slots_[index_of(slot)] + index * strides_[index_of(slot)];
}

kernels::ActivationTile ChunkExecutor::quantized(Slot slot, size_t index) const {
  const size_t k = machine_.model.width(slot), groups = k / kernels::kGroup * tile_tokens_;
  const kernels::ActivationTile& all = quantized_[index_of(slot)];
  return {all.values + index * k * tile_tokens_, all.scales + index * groups, all.sums + index * groups};
}

void ChunkExecutor::begin(std::span<const int32_t> tokens, uint32_t position) {
  tokens_ = tokens.size();
  tiles_ = (tokens_ + tile_tokens_ - 1) / tile_tokens_;
  position_ = position;
  embed(tokens);
}

void ChunkExecutor::run(std::span<const int32_t> tokens, uint32_t position) {
  begin(tokens, position);
  run_steps(machine_.plan.layers, nullptr);
}

void ChunkExecutor::embed(std::span<const int32_t> tokens) {
  machine_.pool.run(tiles_, [&](size_t thread, size_t index) {
    for (size_t lane = 0; lane < tile_tokens_; ++lane) {
      const size_t token = index * tile_tokens_ + lane;
      const uint32_t at = position_ + static_cast<uint32_t>(std::min(token, tokens.size() - 1));
      for (size_t i = 0; i < machine_.plan.ropes.size(); ++i) {
        const graph::Rope& rope = machine_.plan.ropes[i];
        const size_t offset = index * (rope.dims / 2) * tile_tokens_ + lane;
        rope_table(rope, machine_.plan.rope_factors[i], at, tile_tokens_, cosines_[i] + offset,
                   sines_[i] + offset);
      }
    }
    for (const BoundOp& bound : machine_.plan.embed) {
      if (bound.op.kind != OpKind::embed) {
        run_float_op(bound, index);
        continue;
      }
      const Matrix& matrix = bound.matrix;
      float* row = threads_[thread].row;
      float* out = tile(bound.op.output, index);
      for (size_t lane = 0; lane < tile_tokens_; ++lane) {
        // Lanes past the end repeat the last token: finite numbers that nobody reads.
        const size_t token = std::min(index * tile_tokens_ + lane, tokens.size() - 1);
        read_row(machine_.plan, machine_.planes, matrix, static_cast<uint32_t>(tokens[token]), row);
        for (size_t f = 0; f < matrix.k; ++f) out[f * tile_tokens_ + lane] = row[f];
      }
    }
  });
}

void ChunkExecutor::run_steps(std::span<const Step> steps, float* logits) {
  for (const Step& step : steps) {
    if (machine_.between_steps) machine_.between_steps();
    if (machine_.plan.set != nullptr) machine_.plan.set->boundary();
    if (step.kind == StepKind::linears) {
      if (logits == nullptr && machine_.observer != nullptr) observe(step);
      run_linears(step, machine_.pool, logits);
    } else {
      run_step(step, machine_.pool);
    }
  }
}

void ChunkExecutor::run_step(const Step& step, ThreadPool& pool) {
  switch (step.kind) {
    case StepKind::floats:
      run_floats(step, pool);
      break;
    case StepKind::linears:
      run_linears(step, pool, nullptr);
      break;
    case StepKind::attention:
      store_keys(step, pool);
      attend(step, pool);
      break;
  }
}

void ChunkExecutor::observe(const Step& step) {
  const Slot slot = step.ops.front().op.input;
  const size_t width = machine_.model.width(slot);
  std::vector<float> rows(tokens_ * width);
  for (size_t token = 0; token < tokens_; ++token) {
    const float* from = tile(slot, token / tile_tokens_) + token % tile_tokens_;
    for (size_t f = 0; f < width; ++f) rows[token * width + f] = from[f * tile_tokens_];
  }
  (*machine_.observer)(step.layer, slot, rows.data(), tokens_, width);
}

void ChunkExecutor::run_floats(const Step& step, ThreadPool& pool) {
  pool.run(tiles_, [&](size_t, size_t index) {
    for (const BoundOp& bound : step.ops) run_float_op(bound, index);
  });
}

void ChunkExecutor::run_float_op(const BoundOp& bound, size_t index) {
  const kernels::VectorKernels& v = machine_.vector;
  const graph::Op& op = bound.op;
  const size_t width = machine_.model.width(op.input), all = width * tile_tokens_;
  float* in = tile(op.input, index);
  float* out = op.output == Slot::none ? in : tile(op.output, index);
  switch (op.kind) {
    case OpKind::scale:
      v.scale(in, op.factor, all, out);
      break;
    case OpKind::norm_rms: {
      const size_t heads = std::max(1u, op.heads), each = width / heads;
      for (size_t h = 0; h < heads; ++h) {
        v.tile_norm_rms(in + h * each * tile_tokens_, bound.weight->data(), op.epsilon, each,
                        out + h * each * tile_tokens_);
      }
      break;
    }
    case OpKind::norm_layer:
      v.tile_norm_layer(in, bound.weight->data(), bound.bias, op.epsilon, width, out);
      break;
    case OpKind::rope: {
      const size_t each = width / op.heads, table = index * (op.rope.dims / 2) * tile_tokens_;
      for (size_t h = 0; h < op.heads; ++h) {
        v.tile_rope(in + h * each * tile_tokens_, op.rope.dims, op.rope.neox,
                    cosines_[bound.rope_table] + table, sines_[bound.rope_table] + table);
      }
      break;
    }
    case OpKind::gate:
      v.gate(unary(op.activation), in, tile(op.input2, index), all, out);
      break;
    case OpKind::activate:
      v.activate(unary(op.activation), in, all, out);
      break;
    case OpKind::add:
      v.add(in, tile(op.input2, index), all, out);
      break;
    case OpKind::softcap:
      v.softcap(in, op.factor, all, out);
      break;
    case OpKind::rotate: {
      if (out != in) std::memcpy(out, in, all * sizeof(float));
      const size_t block = op.block == 0 ? width : op.block;
      v.tile_hadamard(out, block, width / block);
      break;
    }
    case OpKind::quantize:
      if (quantized_[index_of(op.input)].values != nullptr) {
        machine_.gemm.quantize_tile(in, width, quantized(op.input, index));
      }
      break;
    case OpKind::embed:
    case OpKind::linear:
    case OpKind::attention:
      break;  // steps of their own
  }
}

void ChunkExecutor::run_linears(const Step& step, ThreadPool& pool, float* logits) {
  if (step.planes) return run_planes(step, pool, logits);
  struct Task {
    const BoundOp* bound;
    size_t row, rows;
  };
  size_t total = 0;
  for (const BoundOp& bound : step.ops) total += bound.matrix.rows;
  // At least six tasks a thread, so that the last ones end together.
  const size_t step_rows = machine_.gemm.tile_rows;
  const size_t fair = round_up(total / (6 * pool.threads()) + 1, step_rows);
  std::vector<Task> tasks;
  for (const BoundOp& bound : step.ops) {
    const size_t rows = std::min(panel_rows(bound.matrix.k), fair);
    for (size_t row = 0; row < bound.matrix.rows; row += rows)
      tasks.push_back({&bound, row, std::min(rows, bound.matrix.rows - row)});
  }
  pool.run(tasks.size(), [&](size_t thread, size_t index) {
    const Task& task = tasks[index];
    multiply(step, *task.bound, task.row, task.rows, thread, logits);
  });
}

kernels::PanelForm ChunkExecutor::panel_form(const Matrix& matrix) const {
  return uses_codes4(machine_.gemm, matrix) && machine_.gemm.uses_codes4 ? kernels::PanelForm::codes4
                                                                         : kernels::PanelForm::values8;
}

// `rows` rows of the matrix's encoding into the thread's panel, or into its float rows.
void ChunkExecutor::fill_panel(const Step& step, const Matrix& matrix, const std::byte* begin, size_t rows,
                               size_t thread) {
  const ThreadScratch& t = threads_[thread];
  const size_t k = matrix.k, groups = k / kernels::kGroup;
  const kernels::EncodingKernels& encoding = *matrix.encoding;
  const bool codes4 = uses_codes4(machine_.gemm, matrix);
  const bool values8 = encoding.unpack8 != nullptr && machine_.gemm.most_value == 127;
  for (size_t r = 0; r < rows; ++r) {
    const std::byte* from = begin + r * matrix.row_bytes;
    int8_t* values = t.panel.values + r * k;
    int32_t* corrections = t.panel.corrections + r * groups;
    float* scales = t.panel.scales + r * groups;
    if (!step.integer) {
      encoding.dequantize(from, k, t.row + r * k);
    } else if (codes4) {
      encoding.unpack4(from, k, reinterpret_cast<uint8_t*>(values), scales, t.panel.offsets + r * groups);
      if (r % kFilledRows != kFilledRows - 1 && r + 1 < rows) continue;
      const size_t first = r / kFilledRows * kFilledRows, group = first * groups;
      machine_.gemm.fill_codes4((r + 1 - first) * k, reinterpret_cast<uint8_t*>(t.panel.values + first * k),
                                t.panel.scales + group, t.panel.corrections + group, t.panel.offsets + group);
    } else if (values8) {
      encoding.unpack8(from, k, values, scales);
      machine_.gemm.fill_values8(k, values, corrections);
    } else {
      encoding.dequantize(from, k, t.row);
      machine_.gemm.fill_floats(t.row, k, values, corrections, scales);
    }
  }
}

void ChunkExecutor::multiply(const Step& step, const BoundOp& bound, size_t row, size_t rows, size_t thread,
                             float* logits) {
  const ThreadScratch& t = threads_[thread];
  const Matrix& matrix = bound.matrix;
  const size_t k = matrix.k, padded = round_up(rows, machine_.gemm.tile_rows);
  fill_panel(step, matrix, matrix.row(row), rows, thread);
  // Rows beyond the matrix's end multiply whatever the panel held before; their results are not read.
  const kernels::PanelForm form = panel_form(matrix);
  for (size_t i = 0; i < tiles_; ++i) {
    float* out = logits != nullptr ? t.out : tile(bound.op.output, i) + row * tile_tokens_;
    if (step.integer) {
      machine_.gemm.multiply(form, t.panel, padded, k, quantized(bound.op.input, i), out);
      if (step.fine) {
        const size_t values = i * k * tile_tokens_;
        machine_.gemm.multiply(form, t.panel, padded, k,
                               {residual_.values + values, residual_.scales + values / kernels::kGroup,
                                residual_.sums + values / kernels::kGroup},
                               t.residual);
        machine_.vector.add(out, t.residual, padded * tile_tokens_, out);
      }
    } else {
      machine_.gemm.multiply_f32(t.row, padded, k, tile(bound.op.input, i), out);
    }
    if (bound.bias != nullptr) machine_.vector.tile_bias(out, bound.bias + row, rows);
    if (logits == nullptr) continue;
    const size_t lanes = std::min(tile_tokens_, tokens_ - i * tile_tokens_);
    for (size_t lane = 0; lane < lanes; ++lane) {
      float* to = logits + (i * tile_tokens_ + lane) * machine_.model.parameters.vocabulary + row;
      for (size_t r = 0; r < rows; ++r) to[r] = out[r * tile_tokens_ + lane];
    }
  }
}

void ChunkExecutor::store_keys(const Step& step, ThreadPool& pool) {
  const graph::HyperParameters& p = machine_.model.parameters;
  const size_t n = p.head_size, head_floats = n * tile_tokens_;
  pool.run(tiles_, [&](size_t, size_t index) {
    const size_t lanes = std::min(tile_tokens_, tokens_ - index * tile_tokens_);
    const uint32_t at = position_ + static_cast<uint32_t>(index * tile_tokens_);
    for (uint32_t head = 0; head < p.kv_heads; ++head) {
      const KvCache::Place k = machine_.cache.keys(step.layer, head, at);
      const KvCache::Place v = machine_.cache.values(step.layer, head, at);
      machine_.attention.store_tile(machine_.cache.format(), tile(Slot::key, index) + head * head_floats, n,
                                    lanes, k.row, k.scale);
      machine_.attention.store_tile(machine_.cache.format(), tile(Slot::value, index) + head * head_floats, n,
                                    lanes, v.row, v.scale);
    }
  });
}

void ChunkExecutor::attend(const Step& step, ThreadPool& pool) {
  const graph::HyperParameters& p = machine_.model.parameters;
  const kernels::AttentionShape shape = attention_shape(p, step.ops.front().op);
  const size_t head_floats = shape.head_size * tile_tokens_;
  const size_t together = query_tiles(shape), runs = (tiles_ + together - 1) / together;
  pool.run(runs * p.kv_heads, [&](size_t thread, size_t task) {
    const size_t index = (runs - 1 - task / p.kv_heads) * together;  // the longest first
    const uint32_t head = static_cast<uint32_t>(task % p.kv_heads);
    const size_t offset = head * shape.group * head_floats;
    machine_.attention.tiles(
        shape, machine_.cache.key_rows(step.layer, head), machine_.cache.value_rows(step.layer, head),
        position_ + static_cast<uint32_t>(index * tile_tokens_),
        std::min(together * tile_tokens_, tokens_ - index * tile_tokens_), tile(Slot::query, index) + offset,
        tile(Slot::context, index) + offset, strides_[index_of(Slot::query)], threads_[thread].attention);
  });
}

void ChunkExecutor::take_hidden(const ChunkExecutor& from) {
  tokens_ = from.tokens_;
  tiles_ = from.tiles_;
  position_ = from.position_;
  for (const Slot s : {Slot::hidden, Slot::branch, Slot::branch2}) {
    if (slots_[index_of(s)] == nullptr) continue;
    std::memcpy(slots_[index_of(s)], from.slots_[index_of(s)],
                tiles_ * strides_[index_of(s)] * sizeof(float));
  }
}

void ChunkExecutor::hand_over(size_t token, TokenExecutor& to) {
  const size_t index = token / tile_tokens_, lane = token % tile_tokens_;
  for (const Slot s : {Slot::hidden, Slot::branch, Slot::branch2}) {
    if (slots_[index_of(s)] == nullptr) continue;
    const float* from = tile(s, index) + lane;
    float* out = to.slot(s);
    for (size_t f = 0; f < machine_.model.width(s); ++f) out[f] = from[f * tile_tokens_];
  }
}

// What the 8 bits of a tile left of its activations, in 8 more.
void ChunkExecutor::quantize_residual(Slot slot, size_t index) {
  const size_t k = machine_.model.width(slot), all = k * tile_tokens_;
  const kernels::ActivationTile first = quantized(slot, index);
  const float* x = tile(slot, index);
  std::vector<float> rest(all);
  for (size_t i = 0; i < k; ++i) {
    for (size_t lane = 0; lane < tile_tokens_; ++lane) {
      const int value = first.values[(i / 4 * tile_tokens_ + lane) * 4 + i % 4] - 128;
      rest[i * tile_tokens_ + lane] =
          x[i * tile_tokens_ + lane] -
          first.scales[i / kernels::kGroup * tile_tokens_ + lane] * static_cast<float>(value);
    }
  }
  machine_.gemm.quantize_tile(
      rest.data(), k,
      {residual_.values + index * all, residual_.scales + index * all / kernels::kGroup,
       residual_.sums + index * all / kernels::kGroup});
}

void ChunkExecutor::run_head(size_t tokens, float* logits) {
  for (const Step& step : machine_.plan.head) {
    if (step.kind == StepKind::linears) {
      if (step.fine) {
        const Slot slot = step.ops.front().op.input;
        const size_t all = machine_.model.width(slot) * tile_tokens_ * most_tiles_;
        if (residual_memory_.bytes() == 0) {
          residual_memory_ = Buffer(all + 2 * all / kernels::kGroup * sizeof(float));
          residual_.values = residual_memory_.as<uint8_t>();
          residual_.scales = reinterpret_cast<float*>(residual_.values + all);
          residual_.sums = residual_.scales + all / kernels::kGroup;
        }
        machine_.pool.run(tiles_, [&](size_t, size_t index) { quantize_residual(slot, index); });
      }
      run_linears(step, machine_.pool, logits);
    } else if (step.ops.front().op.input == Slot::logits) {
      for (const BoundOp& bound : step.ops) {
        const size_t all = tokens * machine_.model.parameters.vocabulary;
        if (bound.op.kind == OpKind::softcap) machine_.vector.softcap(logits, bound.op.factor, all, logits);
        if (bound.op.kind == OpKind::scale) machine_.vector.scale(logits, bound.op.factor, all, logits);
      }
    } else {
      run_floats(step, machine_.pool);
    }
  }
}

}  // namespace cairn::device::cpu
