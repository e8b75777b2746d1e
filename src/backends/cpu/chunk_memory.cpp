// Where a chunk's activations and each thread's scratch lie.
#include <algorithm>

#include "backends/cpu/executor.hpp"

namespace cairn::cpu {
namespace {

using graph::Slot;

constexpr size_t kPanelBytes = 192 << 10;  // of weights that stay in the second-level cache
constexpr size_t kMostPanelRows = 192;

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

bool is_quantized(const Plan& plan, Slot slot) {
  const auto in = [&plan, slot](const std::vector<Step>& steps) {
    return std::any_of(steps.begin(), steps.end(), [&plan, slot](const Step& step) {
      // Exact rows of a stack read the usual form.
      return step.integer && step.kind != StepKind::heads && (!step.planes || plan.any_exact()) &&
             step.ops.front().op.input == slot;
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

}  // namespace

ChunkExecutor::ChunkExecutor(const Machine& machine, uint32_t most_tokens)
    : machine_(machine),
      tile_tokens_(machine.gemm.tile_tokens),
      most_tiles_((most_tokens + tile_tokens_ - 1) / tile_tokens_) {
  const auto lay_out = [&](Carver& carver) {
    const auto slot = [&](Slot s) {
      const size_t width = tile_width(s), tiles = is_expert(s) ? most_expert_tiles() : most_tiles_;
      // A product writes whole blocks of tile_rows rows.
      strides_[index_of(s)] = round_up(width, machine_.gemm.tile_rows) * tile_tokens_;
      slots_[index_of(s)] = carver.take<float>(tiles * strides_[index_of(s)]);
      if (!is_quantized(machine_.plan, s)) return;
      quantized_[index_of(s)] = carver.take<uint8_t>(kernels::activation_bytes(machine_.gemm, width) * tiles);
    };
    for (const Slot s : {Slot::hidden, Slot::branch, Slot::branch2, Slot::normed}) {
      if (s != Slot::branch2 || uses(machine_.plan, s)) slot(s);
    }
    if (machine_.model.parameters.layer_width != 0) {
      for (const Slot s : {Slot::layer_tokens, Slot::layer_inputs, Slot::layer_gate}) slot(s);
    }
    for (size_t i = 0; i < machine_.plan.ropes.size(); ++i) {
      const size_t table = machine_.plan.ropes[i].dims / 2 * tile_tokens_ * most_tiles_;
      cosines_.push_back(carver.take<float>(table));
      sines_.push_back(carver.take<float>(table));
    }
    // Attention is over before the feed-forward part begins: both use the same memory.
    const size_t shared = carver.used();
    for (const Slot s : {Slot::query, Slot::key, Slot::value, Slot::context}) slot(s);
    for (const Slot s : {Slot::query_latent, Slot::query_heads, Slot::context_heads, Slot::query_gate,
                         Slot::context_gate, Slot::conv, Slot::conv_in, Slot::conv_out, Slot::alpha,
                         Slot::beta, Slot::delta, Slot::delta_gate}) {
      if (uses(machine_.plan, s)) slot(s);
    }
    if (const graph::HyperParameters& p = machine_.model.parameters; p.scan_state != 0)
      scan_scores_ = carver.take<float>(most_tiles_ * p.delta_key_heads * tile_tokens_ * tile_tokens_);
    const size_t attention_end = carver.used();
    carver.rewind(shared);
    for (const Slot s :
         {Slot::gate, Slot::up, Slot::router, Slot::shared_gate, Slot::expert_gate, Slot::expert_up}) {
      if (uses(machine_.plan, s)) slot(s);
    }
    if (const graph::HyperParameters& p = machine_.model.parameters; p.experts != 0) {
      const size_t pairs = most_tiles_ * tile_tokens_ * p.experts_used, k = p.embedding;
      gathered_stride_ = is_quantized(machine_.plan, Slot::normed)
                             ? kernels::activation_bytes(machine_.gemm, k)
                             : round_up(k * tile_tokens_ * sizeof(float), 64);
      gathered_ = carver.take<uint8_t>(most_expert_tiles() * gathered_stride_);
      expert_rows_ = carver.take<float>(pairs * k);
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

  chosen_.resize(most_tiles_ * tile_tokens_ * machine_.model.parameters.experts_used);
  pairs_.resize(chosen_.size());
  size_t most_k = 0, most_values = 0, most_bytes = 0, most_rows = 0;
  size_t most_head = 0;
  bool any_float = false;
  for (const std::vector<Step>* steps : {&machine_.plan.layers, &machine_.plan.head}) {
    for (const Step& step : *steps) {
      if (step.kind == StepKind::heads) most_head = std::max(most_head, step.ops.front().matrix.k);
      if (step.kind != StepKind::linears && step.kind != StepKind::experts && step.kind != StepKind::heads)
        continue;
      any_float |= !step.integer;
      for (const BoundOp& bound : step.ops) {
        const size_t k = bound.matrix.k, each = value_bytes(step, bound.matrix), rows = panel_rows(k, each);
        most_k = std::max(most_k, k);
        most_rows = std::max(most_rows, rows);
        most_values = std::max(most_values, rows * k);
        most_bytes = std::max(most_bytes, rows * k * each);
      }
    }
  }
  for (const BoundOp& bound : machine_.plan.embed) most_k = std::max(most_k, bound.matrix.k);
  // Planes come in whole tiles of rows, and those in a panel of whole tile_rows.
  if (machine_.plan.set != nullptr) {
    const size_t rows = round_up(kernels::kPlaneRows, machine_.gemm.tile_rows);
    most_values = std::max(most_values, rows * most_k);
    most_bytes = std::max(most_bytes, rows * most_k * machine_.gemm.values8_bytes);
  }
  delta_ = delta_scratch(machine_.plan, kDeltaTokens, tile_tokens_, machine_.pool.threads());
  const size_t attention =
      most_attention_floats(machine_.plan, machine_.model.parameters, machine_.attention);
  threads_.resize(machine_.pool.threads());
  for (ThreadScratch& t : threads_) {
    const auto lay_out_thread = [&](Carver& c) {
      t.panel.values = c.take<int8_t>(most_bytes);
      t.panel.corrections = c.take<int32_t>(most_values / kernels::kGroup);
      // Some forms have two scales for each 32.
      t.panel.scales = c.take<float>(2 * most_values / kernels::kGroup);
      t.panel.offsets = c.take<float>(2 * most_values / kernels::kGroup);
      t.row = c.take<float>(any_float ? std::max(most_values, most_k) : most_k);
      t.out = c.take<float>(most_rows * tile_tokens_);
      t.residual = c.take<float>(most_rows * tile_tokens_);
      t.attention = c.take<float>(attention);
      t.mixing = c.take<float>(machine_.plan.rotation_scratch());
      t.head = c.take<uint8_t>(most_head == 0 ? 0 : kernels::activation_bytes(machine_.gemm, most_head));
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
  for (const DeltaScratch& scratch : delta_) total += scratch.memory.bytes();
  return total;
}

// Bytes that a value takes in a panel of the matrix.
size_t ChunkExecutor::value_bytes(const Step& step, const Matrix& matrix) const {
  return step.planes || !step.integer ? 1 : machine_.gemm.value_bytes(matrix.encoding->form);
}

// Rows of a panel: a multiple of tile_rows whose values fit kPanelBytes.
size_t ChunkExecutor::panel_rows(size_t k, size_t value_bytes) const {
  const size_t step = machine_.gemm.tile_rows;
  return std::clamp(kPanelBytes / (std::max<size_t>(k, 1) * value_bytes) / step * step, step,
                    kMostPanelRows / step * step);
}

}  // namespace cairn::cpu
