// Few rows' products with a stack's matrices.
#include <algorithm>
#include <cstring>

#include "backends/cpu/executor.hpp"

namespace cairn::cpu {
namespace {

constexpr uint32_t kTiles = 8;  // of 16 rows in one call: their results wait on the stack
constexpr size_t kStored = kTiles * kernels::kPlaneRows;

}  // namespace

void RowExecutor::run_planes(const Step& step) {
  const BoundOp& front = step.ops.front();
  const size_t k = front.matrix.k;
  std::array<kernels::PlaneVector, kMostRows> x;
  each_row([&](size_t row) {
    const PlanesInput& input = planes_[row];
    std::memcpy(input.rotated, slot(front.op.input, row), k * sizeof(float));
    if (front.matrix.rotation != nullptr) front.matrix.rotation->apply(input.rotated, input.scratch);
    x[row] = machine_.planes.quantize(input.rotated, k, input.values, input.magnitudes);
  });
  for (size_t i = 0; i < count_; ++i) planes_x_[i] = x[active_[i]];
  gather(step);

  // A task is a group; neighbours in a matrix are neighbours among the tasks.
  struct Task {
    size_t op;
    uint32_t group;
  };
  static thread_local std::vector<Task> tasks;
  tasks.clear();
  for (size_t op = 0; op < step.ops.size(); op += sharing_ops(step, op)) {
    for (uint32_t group = 0; group < step.ops[op].matrix.stack->groups.size(); ++group)
      tasks.push_back({op, group});
  }
  const std::vector<Task>& list = tasks;
  machine_.pool.run(list.size(), [&](size_t thread, size_t index) {
    const Task task = list[index];
    const bool last = index + 1 == list.size() || list[index + 1].op != task.op;
    multiply_planes(step, task.op, task.group, last ? nullptr : step.ops[task.op].matrix.stack, thread);
  });
}

// next: the matrix whose next group is read after this one, or null.
void RowExecutor::multiply_planes(const Step& step, size_t op, uint32_t group, const resident::Matrix* next,
                                  size_t thread) {
  const BoundOp& bound = step.ops[op];
  const resident::Matrix& stack = *bound.matrix.stack;
  const size_t k = bound.matrix.k;
  const uint32_t first = stack.layout->group_begin(group), rows = stack.layout->group_rows(group);
  const std::byte* exact = draft_ ? nullptr : exact_rows(bound.matrix, group);
  const auto planes = exact == nullptr ? stack.planes(group, draft_) : kernels::PlaneRows{};
  float y[kMostRows][kStored];
  for (uint32_t begin = 0; begin < rows; begin += kStored) {
    const uint32_t count = std::min<uint32_t>(kStored, rows - begin);
    if (!step.integer) {
      float* weights = dequantized_[thread].data();
      for (uint32_t r = 0; r < count; ++r) {
        read_stored_row(machine_.plan, machine_.planes, bound.matrix, first + begin + r, weights, draft_);
        for (size_t i = 0; i < count_; ++i) {
          const size_t row = active_[i];
          const float* x = exact == nullptr ? planes_[row].rotated : slot(bound.op.input, row);
          y[i][r] = machine_.vector.dot(weights, x, k);
        }
      }
    } else if (exact != nullptr) {
      bound.matrix.encoding->gemv(exact + begin * bound.matrix.row_bytes, bound.matrix.row_bytes, count, k,
                                  prepared(*bound.matrix.encoding, k, false, thread), y[0], kStored);
    } else {
      const uint32_t tile = begin / stack::kTileRows;
      const kernels::PlaneRows part = slice(planes, tile, std::min(kTiles, planes.tiles - tile), k);
      const kernels::PlaneRows ahead = tile + part.tiles < planes.tiles
                                           ? slice(planes, tile + part.tiles, 1, k)
                                       : next == nullptr ? part
                                                         : next->planes(group + 1, draft_);
      const kernels::PlaneTable& table = machine_.plan.set->table(part.level);
      if (count_ == 1) {
        machine_.planes.gemv(part, table, k, planes_x_[0], ahead, y[0]);
      } else {
        machine_.planes.gemv_batch(part, table, k, planes_x_.data(), count_, ahead, y[0], kStored);
      }
    }
    const uint32_t* destination = stack.destination.data() + first + begin;
    for (size_t at = op; at < step.ops.size() && step.ops[at].matrix.stack == &stack; ++at) {
      const BoundOp& to = step.ops[at];
      for (size_t i = 0; i < count_; ++i) {
        float* out = output(to.op.output, active_[i]);
        for (uint32_t r = 0; r < count; ++r) {
          const size_t row = destination[r] - size_t{to.matrix.first_row};  // rows before it wrap around
          if (row < to.matrix.rows) out[row] = to.bias == nullptr ? y[i][r] : y[i][r] + to.bias[row];
        }
      }
    }
  }
}

}  // namespace cairn::cpu
