#include "quantize/calibration.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "base/error.hpp"
#include "quantize/collector.hpp"

namespace cairn::quantize {

const char* name(Basis basis) {
  return basis == Basis::plain ? "plain" : "rotated";
}

const char* name(Form form) {
  switch (form) {
    case Form::fixed:
      return "static";
    case Form::fixed_clip:
      return "static-clip";
    case Form::token:
      return "token";
    case Form::rotated_fixed:
      return "rotation-static";
    case Form::rotated_token:
      return "rotation";
    case Form::shadow:
      return "shadow";
    case Form::count:
      break;
  }
  return "";
}

double OutlierStatistics::mass(size_t channels) const {
  std::vector<double> sorted(counts.begin(), counts.end());
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  const double all = std::accumulate(sorted.begin(), sorted.end(), 0.0);
  const auto end = sorted.begin() + static_cast<ptrdiff_t>(std::min(channels, sorted.size()));
  return all == 0 ? 1 : std::accumulate(sorted.begin(), end, 0.0) / all;
}

const WholeCost* Calibration::find_whole(Form form, uint32_t float_tokens) const {
  for (const WholeCost& cost : whole) {
    if (cost.form == form && cost.float_tokens == float_tokens) return &cost;
  }
  return nullptr;
}

std::array<std::vector<const graph::Op*>, kInputs> input_linears(const graph::Layer& layer) {
  std::array<std::vector<const graph::Op*>, kInputs> result;
  InputOrder order;
  Input input = Input::count;
  graph::Slot last = graph::Slot::none;
  for (const graph::OpList& ops : layer) {
    for (const graph::Op& op : ops) {
      if (op.output == graph::Slot::shared_gate) {  // behind the expert, of what it has read
        result[static_cast<size_t>(Input::gate_up)].push_back(&op);
      } else if (op.kind == graph::OpKind::linear) {
        if (last != op.input) input = order.next(op.input);
        result[static_cast<size_t>(input)].push_back(&op);
        last = op.input;
      }
    }
  }
  return result;
}

InputShape input_shape(const graph::Model& model) {
  InputShape shape;
  if (model.layers.empty()) return shape;
  const auto linears = input_linears(model.layers.front());
  for (size_t i = 0; i < kInputs; ++i) {
    for (const graph::Op* op : linears[i]) {
      shape.widths[i] = model.width(op->input);
      shape.outputs[i] += op->rows;
    }
  }
  return shape;
}

size_t percentile_index(double percent) {
  for (size_t i = 0; i < kPercentiles.size(); ++i) {
    if (std::abs(kPercentiles[i] - percent) < 1e-6) return i;
  }
  fail(ErrorCode::invalid_argument, "no percentile {} in a calibration: it has {}", percent,
       fmt::join(kPercentiles, ", "));
}

size_t skip_index(uint32_t float_tokens) {
  size_t index = 0;
  while (index + 1 < kSkips.size() && kSkips[index + 1] <= float_tokens) ++index;
  return index;
}

}  // namespace cairn::quantize
