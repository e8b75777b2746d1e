#pragma once

#include <algorithm>
#include <vector>

namespace cairn::measure {

// The upper one of an even count. There must be one value at least.
inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace cairn::measure
