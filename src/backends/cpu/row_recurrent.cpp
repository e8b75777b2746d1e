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
    delta_rule(bound, step.layer, runs[task / bound.op.heads], task % bound.op.heads, thread);
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
    machine_.recurrent.convolve_token(inputs.data(), bound.weight->data(), part.kept + 1, channels, x);
  }
}

void RowExecutor::delta_rule(const BoundOp& bound, uint32_t layer, const Run& run, size_t head,
                             size_t thread) {
  const graph::Op& op = bound.op;
  const Row& first = rows_[active_[run.first]];
  const DeltaPart& part = first.sequence->state().layout().delta(layer);
  const StateView state = first.sequence->state().now();
  const DeltaScratch& s = delta_[thread];
  const size_t n = op.block, columns = part.columns, key_head = head % op.key_heads;
  for (size_t i = 0; i < run.count; ++i) {
    const size_t row = active_[run.first + i], at = i * columns;
    const float* x = slot(op.input, row);
    std::copy_n(x + key_head * n, n, s.queries + at);
    std::copy_n(x + (op.key_heads + key_head) * n, n, s.keys + at);
    std::copy_n(x + (2 * op.key_heads + head) * n, n, s.values + at);
    normalise(machine_, op, s.queries + at, s.keys + at);
    s.decays[i] = decay(bound, head, slot(op.input2, row)[head]);
    s.steps[i] = sigmoid(slot(Slot::beta, row)[head]);
  }
  const size_t behind = first.sequence->length() - state.position(part.number);
  const size_t done = first.position - first.sequence->length();  // then nothing is behind
  float* matrix = state.matrix(part, head);
  machine_.recurrent.delta_rule(
      {n, columns, matrix, behind > 0 ? matrix : nullptr, nullptr},
      {behind + done, state.keys(part, head), state.deltas(part, head), state.decays(part, head)},
      {run.count, s.queries, s.keys, s.values, s.decays, s.steps, s.out, s.deltas}, s.block);
  std::copy_n(s.keys, run.count * columns, state.keys(part, head) + done * columns);
  std::copy_n(s.deltas, run.count * columns, state.deltas(part, head) + done * columns);
  std::copy_n(s.decays, run.count, state.decays(part, head) + done);
  for (size_t i = 0; i < run.count; ++i)
    std::copy_n(s.out + i * columns, n, slot(op.output, active_[run.first + i]) + head * n);
}

}  // namespace cairn::cpu
