// Few rows' products with the experts that they have chosen: no other expert's weights are read.
#include <algorithm>

#include "backends/cpu/executor.hpp"
#include "base/error.hpp"

namespace cairn::cpu {

void RowExecutor::route(const BoundOp& bound, size_t row) {
  routed_[row] = cpu::route(bound, slot(bound.op.input, row), 1, experts_[row].data());
}

void RowExecutor::check_routes(const Step& step) const {
  for (size_t i = 0; i < count_; ++i) {
    if (!routed_[active_[i]]) fail_route(machine_.plan, step.layer, rows_[active_[i]].position);
  }
}

void RowExecutor::combine(const BoundOp& bound, size_t row) {
  const size_t width = machine_.model.width(bound.op.output);
  const float* from = slot(bound.op.input, row);
  const float* weights = slot(bound.op.input2, row);
  float* out = slot(bound.op.output, row);
  const std::vector<uint32_t>& chosen = experts_[row];
  machine_.vector.scale(from, weights[chosen[0]], width, out);
  for (size_t j = 1; j < chosen.size(); ++j)
    machine_.vector.add_scaled(from + j * width, weights[chosen[j]], width, out);
}

void RowExecutor::quantize_experts(graph::Slot which, size_t row) {
  const size_t width = machine_.model.parameters.expert_ffn;
  for (size_t j = 0; j < expert_input_[row].size(); ++j) {
    const kernels::QuantizedVector& q = expert_input_[row][j];
    machine_.vector.token_quantize(slot(which, row) + j * width, width, const_cast<int8_t*>(q.values),
                                   const_cast<float*>(q.scales), const_cast<float*>(q.sums));
  }
}

// The rows that have an expert, and the how manieth of theirs it is.
struct RowExecutor::ExpertGroup {
  uint32_t expert;
  size_t count = 0;
  std::array<size_t, kMostRows> row{}, place{};
};

void RowExecutor::run_experts(const Step& step) {
  constexpr size_t kTaskBytes = 96 << 10;  // as run_linears' tasks
  static thread_local std::vector<ExpertGroup> groups;
  groups.clear();
  std::array<size_t, kMostRows> next{};  // of each row's experts, which ascend
  for (;;) {
    ExpertGroup group{UINT32_MAX};
    const auto coming = [&](size_t i) {
      const std::vector<uint32_t>& chosen = experts_[active_[i]];
      return next[i] < chosen.size() ? chosen[next[i]] : UINT32_MAX;
    };
    for (size_t i = 0; i < count_; ++i) group.expert = std::min(group.expert, coming(i));
    if (group.expert == UINT32_MAX) break;
    for (size_t i = 0; i < count_; ++i) {
      if (coming(i) != group.expert) continue;
      group.row[group.count] = active_[i];
      group.place[group.count++] = next[i]++;
    }
    groups.push_back(group);
  }
  const bool last = is_expert(step.ops.front().op.input);  // of the layer's products with experts
  if (machine_.expert_pages != nullptr && !last) {
    for (const ExpertGroup& group : groups) machine_.expert_pages->use(step.layer, group.expert);
  }
  struct Task {
    const BoundOp* bound;
    size_t group, row, rows;
  };
  static thread_local std::vector<Task> tasks;
  tasks.clear();
  for (size_t g = 0; g < groups.size(); ++g) {
    for (const BoundOp& bound : step.ops) {
      const size_t rows = std::max<size_t>(8, kTaskBytes / bound.matrix.row_bytes / 8 * 8);
      for (size_t row = 0; row < bound.matrix.rows; row += rows)
        tasks.push_back({&bound, g, row, std::min(rows, bound.matrix.rows - row)});
    }
  }
  const std::vector<Task>& list = tasks;
  const std::vector<ExpertGroup>& all = groups;
  machine_.pool.run(list.size(), [&](size_t thread, size_t index) {
    const Task& task = list[index];
    multiply_expert(step, *task.bound, all[task.group], task.group, task.row, task.rows, thread);
  });
  gathered_ += groups.size();
  if (machine_.expert_pages != nullptr && last) machine_.expert_pages->keep_within();
}

// Rows [first, first + count) of the group's expert. id: of the group, in this step.
void RowExecutor::multiply_expert(const Step& step, const BoundOp& bound, const ExpertGroup& group, size_t id,
                                  size_t first, size_t count, size_t thread) {
  const Matrix& matrix = bound.matrix;
  const graph::Slot in = bound.op.input;
  const bool each = is_expert(in);
  const std::byte* weights = bound.expert_row(group.expert, first);
  const auto out = [&](size_t i) {
    return slot(bound.op.output, group.row[i]) + group.place[i] * matrix.rows + first;
  };
  if (!step.integer) {
    float* row = dequantized_[thread].data();
    for (size_t r = 0; r < count; ++r) {
      matrix.encoding->dequantize(weights + r * matrix.row_bytes, matrix.k, row);
      for (size_t i = 0; i < group.count; ++i) {
        const float* x = slot(in, group.row[i]) + (each ? group.place[i] * matrix.k : 0);
        out(i)[r] = machine_.vector.dot(row, x, matrix.k);
      }
    }
  } else {
    // A single row's experts have one input where it is the token's.
    const uint64_t input = gathered_ + 1 + (count_ == 1 && !each ? 0 : id);
    Prepared& own = prepared_[thread];
    if (own.encoding != matrix.encoding || own.gathered != input) {
      std::array<kernels::QuantizedVector, kMostRows> x;
      for (size_t i = 0; i < group.count; ++i) {
        x[i] = each ? expert_input_[group.row[i]][group.place[i]] : quantized_[group.row[i]][index_of(in)];
      }
      matrix.encoding->prepare({x.data(), nullptr, group.count}, matrix.k, own.memory.as<void>());
      own.encoding = matrix.encoding;
      own.gathered = input;
    }
    const kernels::PreparedBatch x{own.memory.as<void>(), group.count, false};
    if (group.count == 1) {
      matrix.encoding->gemv(weights, matrix.row_bytes, count, matrix.k, x, out(0), 0);
    } else {
      constexpr size_t kPart = 128;
      float y[kMostRows][kPart];
      for (size_t begin = 0; begin < count; begin += kPart) {
        const size_t part = std::min(kPart, count - begin);
        matrix.encoding->gemv(weights + begin * matrix.row_bytes, matrix.row_bytes, part, matrix.k, x, y[0],
                              kPart);
        for (size_t i = 0; i < group.count; ++i) std::copy_n(y[i], part, out(i) + begin);
      }
    }
  }
  const float* bias = bound.expert_bias(group.expert);
  for (size_t i = 0; i < group.count && bias != nullptr; ++i)
    machine_.vector.add(out(i), bias + first, count, out(i));
}

}  // namespace cairn::cpu
