#include "measure/column_squares.hpp"

#include <algorithm>
#include <limits>

#include "base/error.hpp"

namespace cairn::measure {

using graph::OpKind;
using graph::Slot;

ColumnSquares::ColumnSquares(const graph::Model& model, ThreadPool& pool) : pool_(pool) {
  for (const graph::Layer& layer : model.layers) layers_.push_back(readings(model, layer));
}

std::vector<ColumnSquares::Reading> ColumnSquares::readings(const graph::Model& model,
                                                            const graph::Layer& layer) {
  std::vector<Reading> found;
  std::map<graph::Slot, size_t> open;  // since its slot was written last
  for (const graph::OpList& ops : layer) {
    for (const graph::Op& op : ops) {
      if (op.kind == OpKind::linear || op.kind == OpKind::head_linear) {
        const size_t width = op.width != 0 ? op.width : model.width(op.input);
        const auto at = open.find(op.input);
        // Observers are told again where others were told in between, but of these never.
        const bool told =
            op.output != Slot::alpha && op.output != Slot::beta && op.output != Slot::shared_gate;
        if (at == open.end() || (told && at->second + 1 != found.size())) {
          open[op.input] = found.size();
          found.push_back({op.input, width, {}, std::vector<double>(width)});
        }
        found[open[op.input]].ops.push_back(&op);
      }
      if (op.kind != OpKind::quantize) open.erase(op.output);
    }
  }
  return found;
}

void ColumnSquares::add(uint32_t layer, graph::Slot slot, const float* rows, size_t tokens, size_t width) {
  std::vector<Reading>& readings = layers_.at(layer);
  const auto is_slot = [&](const Reading& reading) { return reading.slot == slot; };
  // Steps are told of in their order; two that follow each other may read the same.
  const bool goes_on = layer == layer_ && last_ < readings.size();
  if (goes_on && is_slot(readings[last_])) return;
  const auto begin = readings.begin() + (goes_on ? static_cast<ptrdiff_t>(last_) + 1 : 0);
  auto found = std::find_if(begin, readings.end(), is_slot);
  if (found == readings.end()) found = std::find_if(readings.begin(), readings.end(), is_slot);
  if (found == readings.end()) fail(ErrorCode::unsupported, "a layer's products read no {}", name(slot));
  layer_ = layer;
  last_ = static_cast<size_t>(found - readings.begin());
  std::vector<double>& sums = found->sums;
  constexpr size_t kColumns = 64;
  pool_.run((sums.size() + kColumns - 1) / kColumns, [&](size_t, size_t task) {
    const size_t first = task * kColumns, end = std::min(sums.size(), first + kColumns);
    for (size_t token = 0; token < tokens; ++token) {
      const float* row = rows + token * width;
      for (size_t c = first; c < end; ++c)
        sums[c] += static_cast<double>(row[c]) * static_cast<double>(row[c]);
    }
  });
}

std::map<std::string, std::vector<float>, std::less<>> ColumnSquares::means(const std::string& path,
                                                                            uint64_t tokens) const {
  std::map<std::string, std::vector<float>, std::less<>> result;
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    for (const Reading& reading : layers_[layer]) {
      std::vector<float> means;
      for (const double sum : reading.sums) {
        const double mean = sum / static_cast<double>(tokens);
        if (!(mean <= static_cast<double>(std::numeric_limits<float>::max())))
          fail(ErrorCode::numeric, "{}: layer {}, {}: the activations' mean square is {}", path, layer,
               name(reading.slot), mean);
        means.push_back(static_cast<float>(mean));
      }
      for (const graph::Op* op : reading.ops) {
        std::vector<float>& columns = result[op->weight];
        if (op->kind == OpKind::linear) {
          columns = means;
          continue;
        }
        const auto each = static_cast<ptrdiff_t>(means.size() / op->heads);
        for (ptrdiff_t head = 0; head < op->heads; ++head)
          columns.insert(columns.end(), means.begin() + head * each, means.begin() + head * each + op->block);
      }
    }
  }
  return result;
}

}  // namespace cairn::measure
