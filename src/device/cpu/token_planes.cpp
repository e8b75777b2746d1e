// Decode's products with a stack's matrices.
#include <algorithm>
#include <cstring>

#include "device/cpu/executor.hpp"

namespace cairn::device::cpu {
namespace {

constexpr uint32_t kTiles = 8;  // of 16 rows in one call: their results wait on the stack
constexpr size_t kRows = kTiles * kernels::kPlaneRows;

}  // namespace

void TokenExecutor::run_planes(const Step& step) {
  const BoundOp& front = step.ops.front();
  const size_t k = front.matrix.k;
  const float* x = slot(front.op.input);
  std::memcpy(planes_.rotated, x, k * sizeof(float));
  if (front.matrix.rotation != nullptr) front.matrix.rotation->apply(planes_.rotated, planes_.scratch);
  const kernels::PlaneVector input =
      machine_.planes.quantize(planes_.rotated, k, planes_.values, planes_.magnitudes);

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
    const BoundOp& bound = step.ops[task.op];
    const resident::Matrix& stack = *bound.matrix.stack;
    const uint32_t first = stack.layout->group_begin(task.group), rows = stack.layout->group_rows(task.group);
    const std::byte* exact = exact_rows(bound.matrix, task.group);
    float y[kRows];
    const auto planes = exact == nullptr ? stack.planes(task.group) : kernels::PlaneRows{};
    for (uint32_t begin = 0; begin < rows; begin += kRows) {
      const uint32_t count = std::min<uint32_t>(kRows, rows - begin);
      if (!step.integer) {
        float* row = rows_[thread].data();
        for (uint32_t r = 0; r < count; ++r) {
          read_stored_row(machine_.plan, machine_.planes, bound.matrix, first + begin + r, row);
          y[r] = machine_.vector.dot(row, exact == nullptr ? planes_.rotated : x, k);
        }
      } else if (exact != nullptr) {
        bound.matrix.encoding->gemv(exact + begin * bound.matrix.row_bytes, bound.matrix.row_bytes, count, k,
                                    quantized_[static_cast<size_t>(bound.op.input)], y);
      } else {
        const uint32_t tile = begin / stack::kTileRows;
        const kernels::PlaneRows part = slice(planes, tile, std::min(kTiles, planes.tiles - tile), k);
        const bool inside = tile + part.tiles < planes.tiles;
        const bool last = index + 1 == list.size() || list[index + 1].op != task.op;
        const kernels::PlaneRows next = inside ? slice(planes, tile + part.tiles, 1, k)
                                        : last ? part
                                               : stack.planes(task.group + 1);
        machine_.planes.gemv(part, machine_.plan.set->table(part.level), k, input, next, y);
      }
      const uint32_t* destination = stack.destination.data() + first + begin;
      for (size_t op = task.op; op < step.ops.size() && step.ops[op].matrix.stack == &stack; ++op) {
        const BoundOp& to = step.ops[op];
        float* out = slot(to.op.output);
        for (uint32_t r = 0; r < count; ++r) {
          const size_t row = destination[r] - size_t{to.matrix.first_row};  // rows before it wrap around
          if (row < to.matrix.rows) out[row] = to.bias == nullptr ? y[r] : y[r] + to.bias[row];
        }
      }
    }
  });
}

}  // namespace cairn::device::cpu
