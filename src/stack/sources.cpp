#include "stack/sources.hpp"

#include <algorithm>
#include <limits>
#include <set>

#include "base/interruptible.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/kernels.hpp"
#include "quantize/calibration.hpp"

namespace cairn::stack {

std::vector<Source> linear_sources(const gguf::File& file, const graph::Model& model) {
  std::vector<Source> sources;
  std::set<std::string> seen;  // several products may share a tensor
  for (uint32_t layer = 0; layer < model.layers.size(); ++layer) {
    const auto linears = quantize::input_linears(model.layers[layer]);
    for (size_t input = 0; input < quantize::kInputs; ++input) {
      for (const graph::Op* op : linears[input]) {
        const gguf::Tensor& tensor = file.tensor(op->weight);
        if (tensor.row_elements() % kTileColumns != 0 || !seen.insert(op->weight).second) continue;
        sources.push_back({&tensor, layer, static_cast<quantize::Input>(input)});
      }
    }
  }
  return sources;
}

std::vector<Source> vocabulary_sources(const gguf::File& file, const graph::Model& model) {
  std::vector<Source> sources;
  for (const graph::OpList* ops : {&model.embed, &model.head}) {
    for (const graph::Op& op : *ops) {
      if (op.kind != graph::OpKind::embed && op.kind != graph::OpKind::linear) continue;
      const gguf::Tensor& tensor = file.tensor(op.weight);
      const bool seen = !sources.empty() && sources.front().tensor == &tensor;
      if (seen || tensor.row_elements() % kTileColumns != 0) continue;
      sources.push_back({&tensor, static_cast<uint32_t>(model.layers.size()), quantize::Input::count});
    }
  }
  return sources;
}

std::array<uint32_t, quantize::kInputs> input_widths(std::span<const Source> sources) {
  std::array<uint32_t, quantize::kInputs> widths{};
  for (const Source& source : sources) {
    if (source.input != quantize::Input::count)
      widths[static_cast<size_t>(source.input)] = static_cast<uint32_t>(source.tensor->row_elements());
  }
  return widths;
}

std::vector<float> read_matrix(const gguf::Tensor& tensor, bool rotate, ThreadPool& pool) {
  const auto columns = static_cast<uint32_t>(tensor.row_elements());
  std::vector<float> values(tensor.elements());
  const auto& kernels = kernels::kernel_set(kernels::default_target()).encoding(tensor.encoding);
  const quantize::Rotation rotation(columns);
  std::vector<std::vector<float>> scratch(pool.threads(), std::vector<float>(rotation.scratch_floats()));
  run_interruptible(pool, tensor.rows(), [&](size_t thread, size_t row) {
    float* to = values.data() + row * columns;
    kernels.dequantize(tensor.data.data() + row * tensor.row_bytes(), columns, to);
    if (rotate) rotation.apply(to, scratch[thread].data());
  });
  return values;
}

uint32_t choose_group_rows(uint32_t rows, uint32_t columns, uint64_t most_bytes) {
  const auto total = [&](uint32_t per_group, uint64_t& largest) {
    const Matrix m{{}, rows, columns, per_group, true, Encoding::f32, {}};
    uint64_t sum = 0;
    for (uint32_t g = 0; g < m.groups(); ++g) {
      const uint64_t bytes = padded(block_bytes(m, Codec::planes, g, 1));
      largest = std::max(largest, bytes);
      sum += bytes;
    }
    return sum;
  };
  uint32_t best = kTileRows;
  uint64_t best_total = std::numeric_limits<uint64_t>::max();
  for (uint32_t per_group = kTileRows; per_group < rows + kTileRows; per_group += kTileRows) {
    uint64_t largest = 0;
    const uint64_t sum = total(per_group, largest);
    if (largest > most_bytes) break;
    if (sum < best_total - best_total / 300) best_total = sum, best = per_group;  // small groups order better
  }
  return best;
}

}  // namespace cairn::stack
