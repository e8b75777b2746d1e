#include "backends/cpu/experts.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace cairn::cpu {

bool route(const graph::Op& op, float* scores, size_t stride, uint32_t* chosen) {
  for (uint32_t e = 0; e < op.experts; ++e) {
    if (!std::isfinite(scores[e * stride])) return false;
  }
  static thread_local std::vector<uint32_t> order;
  order.resize(op.experts);
  std::iota(order.begin(), order.end(), 0U);
  const auto end = order.begin() + op.used;
  std::partial_sort(order.begin(), end, order.end(), [&](uint32_t a, uint32_t b) {
    const float x = scores[a * stride], y = scores[b * stride];
    return x > y || (x == y && a < b);
  });
  const auto top = static_cast<double>(scores[order.front() * stride]);
  const auto power = [&](uint32_t e) { return std::exp(static_cast<double>(scores[e * stride]) - top); };
  double sum = 0;
  std::for_each(order.begin(), op.normalise ? end : order.end(), [&](uint32_t e) { sum += power(e); });
  std::copy(order.begin(), end, chosen);
  std::sort(chosen, chosen + op.used);
  for (uint32_t e = 0, next = 0; e < op.experts; ++e) {
    float& score = scores[e * stride];
    const bool taken = next < op.used && chosen[next] == e;
    score = taken ? static_cast<float>(static_cast<double>(op.factor) * power(e) / sum) : 0.0F;
    next += taken ? 1 : 0;
  }
  return true;
}

}  // namespace cairn::cpu
