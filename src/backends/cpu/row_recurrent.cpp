// Few rows' recurrent states: rows of one sequence one after the other, which leave its state as it was and
// write down what they change; what the rows before them wrote down is taken up on the way.
#include <algorithm>
#include <array>
#include <cstring>

#include "backends/cpu/executor.hpp"
#include "backends/cpu/recurrent.hpp"

namespace cairn::cpu {

using graph::Slot;

static_assert(RowExecutor::kMostRows <= StateLayout::kJournal);

// Rows of one sequence: active_[first, first + count).
struct RowExecutor::Run {
  size_t first, count;
};

void RowExecutor::run_recurrent(const Step& step) {
  const BoundOp& bound = step.ops.front();
  std::array<Run, kMostRows> runs{};
  size_t count = 0;
  for (size_t i = 0; i < count_; ++i) {
    const bool same = i > 0 && rows_[active_[i]].sequence == rows_[active_[i - 1]].sequence;
    if (!same) runs[count++].first = i;
    ++runs[count - 1].count;
  }
  if (bound.op.kind == graph::OpKind::convolve) {
    const auto body = [&](size_t i) { convolve(bound, step.layer, runs[i]); };
    if (count == 1) return body(0);
    return machine_.pool.run(count, [&](size_t, size_t i) { body(i); });
  }
  machine_.pool.run(count * bound.op.heads, [&](size_t thread, size_t task) {
    run_state(bound, step.layer, runs[task / bound.op.heads], task % bound.op.heads, delta_[thread]);
  });
  for (size_t i = 0; i < count; ++i) {
    const PagedSequence& sequence = *rows_[active_[runs[i].first]].sequence;
    sequence.state().now().position(sequence.state().layout().delta(step.layer).number) = sequence.length();
  }
}

void RowExecutor::convolve(const BoundOp& bound, uint32_t layer, const Run& run) {
  const Row& first = rows_[active_[run.first]];
  const ConvPart& part = first.sequence->state().layout().conv(layer);
  const StateView state = first.sequence->state().now();
  const size_t channels = part.channels, bytes = channels * sizeof(float);
  const uint32_t length = first.sequence->length();
  if (state.position(part.number) != length) {
    for (size_t i = 0; i < part.kept; ++i)
      std::memmove(state.window(part) + i * channels, input_before(state, part, length, part.kept - i),
                   bytes);
    state.position(part.number) = length;
  }
  const size_t done = first.position - length;  // rows of this step that ran before
  for (size_t i = 0; i < run.count; ++i) {
    float* x = slot(Slot::conv, active_[run.first + i]);
    const size_t now = done + i;
    std::memcpy(state.journal(part) + now * channels, x, bytes);
    const auto length_now = static_cast<uint32_t>(length + now + 1);
    std::array<const float*, graph::kMostConvWindow> inputs;
    for (size_t w = 0; w <= part.kept; ++w)
      inputs[w] = input_before(state, part, length_now, part.kept + 1 - w);
    machine_.recurrent.convolve_token(inputs.data(), bound.weight->data(), bound.bias, part.kept + 1,
                                      channels, x);
  }
}

void RowExecutor::take_delta(const BoundOp& bound, size_t row, size_t head, size_t at,
                             const DeltaScratch& s) {
  const graph::Op& op = bound.op;
  const size_t n = op.block, key_head = head % op.key_heads;
  const size_t first = at * round_up(n, kernels::kDeltaColumns);
  const float* x = slot(op.input, row);
  std::copy_n(x + key_head * n, n, s.queries + first);
  std::copy_n(x + (op.key_heads + key_head) * n, n, s.keys + first);
  std::copy_n(x + (2 * op.key_heads + head) * n, n, s.values + first);
  normalise(machine_, op, s.queries + first, s.keys + first);
  s.decays[at] = decay(bound, head, slot(op.input2, row)[head]);
  s.steps[at] = sigmoid(slot(Slot::beta, row)[head]);
}

void RowExecutor::take_scan(const BoundOp& bound, size_t row, size_t head, size_t at, const DeltaScratch& s) {
  const graph::Op& op = bound.op;
  const size_t n = op.block, keys = op.state, group = head / (op.heads / op.key_heads);
  const float *x = slot(op.input, row), *of_keys = x + op.heads * n;
  std::copy_n(of_keys + group * keys, keys, s.keys + at * round_up(keys, 16));
  std::copy_n(of_keys + (op.key_heads + group) * keys, keys, s.queries + at * round_up(keys, 16));
  machine_.recurrent.scan_steps(slot(op.input2, row) + head, bound.bias[head], (*bound.weight)[head], 1,
                                s.steps + at, s.decays + at);
  machine_.vector.scale(x + head * n, s.steps[at], n, s.values + at * round_up(n, kernels::kDeltaColumns));
}

void RowExecutor::run_state(const BoundOp& bound, uint32_t layer, const Run& run, size_t head,
                            const DeltaScratch& s) {
  const graph::Op& op = bound.op;
  const bool scans = op.kind == graph::OpKind::selective_scan;
  const Row& first = rows_[active_[run.first]];
  const DeltaPart& part = first.sequence->state().layout().delta(layer);
  const StateView state = first.sequence->state().now();
  const size_t n = op.block, columns = part.columns, stride = part.key_stride();
  for (size_t i = 0; i < run.count; ++i)
    scans ? take_scan(bound, active_[run.first + i], head, i, s)
          : take_delta(bound, active_[run.first + i], head, i, s);
  const size_t behind = first.sequence->length() - state.position(part.number);
  const size_t done = first.position - first.sequence->length();  // then nothing is behind
  float* matrix = state.matrix(part, head);
  const kernels::DeltaState of{part.keys, columns, stride, matrix, behind > 0 ? matrix : nullptr, nullptr};
  const kernels::DeltaPast past{behind + done, state.keys(part, head), state.deltas(part, head),
                                state.decays(part, head)};
  const kernels::DeltaTokens tokens{run.count, s.queries, s.keys, s.values,
                                    s.decays,  s.steps,   s.out,  s.deltas};
  scans ? machine_.recurrent.selective_scan(of, past, tokens)
        : machine_.recurrent.delta_rule(of, past, tokens, s.block);
  std::copy_n(s.keys, run.count * stride, state.keys(part, head) + done * stride);
  std::copy_n(scans ? s.values : s.deltas, run.count * columns, state.deltas(part, head) + done * columns);
  std::copy_n(s.decays, run.count, state.decays(part, head) + done);
  for (size_t i = 0; i < run.count; ++i) {
    const size_t row = active_[run.first + i];
    float* out = slot(op.output, row) + head * n;
    std::copy_n(s.out + i * columns, n, out);
    if (scans) machine_.vector.add_scaled(slot(op.input, row) + head * n, (*bound.skip)[head], n, out);
  }
}

}  // namespace cairn::cpu
