#include "backends/cpu/experts.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

namespace cairn::cpu {
namespace {

using Order = std::vector<uint32_t>;

// Puts the `count` largest first, of equal ones those of the lower index.
void sort_largest(Order& order, size_t count, std::span<const double> values) {
  std::partial_sort(
      order.begin(), order.begin() + static_cast<ptrdiff_t>(count), order.end(),
      [&](uint32_t a, uint32_t b) { return values[a] > values[b] || (values[a] == values[b] && a < b); });
}

// What the choice goes by is −∞ from here on outside of the best groups.
void keep_best_groups(const graph::Op& op, std::span<double> marks) {
  const size_t size = op.experts / op.groups, best = op.activation == graph::Activation::sigmoid ? 2 : 1;
  std::vector<double> sums;
  for (size_t group = 0; group < op.groups; ++group) {
    std::vector<double> own(marks.begin() + static_cast<ptrdiff_t>(group * size),
                            marks.begin() + static_cast<ptrdiff_t>((group + 1) * size));
    const auto end = own.begin() + static_cast<ptrdiff_t>(std::min(best, size));
    std::partial_sort(own.begin(), end, own.end(), std::greater<>());
    sums.push_back(std::accumulate(own.begin(), end, 0.0));
  }
  Order order(op.groups);
  std::iota(order.begin(), order.end(), 0U);
  sort_largest(order, op.groups_used, sums);
  for (size_t i = op.groups_used; i < op.groups; ++i)
    std::fill_n(marks.begin() + static_cast<ptrdiff_t>(order[i] * size), size,
                -std::numeric_limits<double>::infinity());
}

}  // namespace

bool route(const BoundOp& bound, float* scores, size_t stride, uint32_t* chosen) {
  const graph::Op& op = bound.op;
  for (uint32_t e = 0; e < op.experts; ++e) {
    if (!std::isfinite(scores[e * stride])) return false;
  }
  static thread_local Order order;
  static thread_local std::vector<double> marks;
  order.resize(op.experts);
  marks.resize(op.experts);
  std::iota(order.begin(), order.end(), 0U);
  double top = static_cast<double>(scores[0]);
  for (uint32_t e = 0; e < op.experts; ++e) {
    marks[e] = static_cast<double>(scores[e * stride]);
    top = std::max(top, marks[e]);
  }
  const bool sigmoid = op.activation == graph::Activation::sigmoid;
  const auto part = [&](uint32_t e) {
    const auto score = static_cast<double>(scores[e * stride]);
    return sigmoid ? 1 / (1 + std::exp(-score)) : std::exp(score - top);
  };
  double sum = 0;  // of all
  for (uint32_t e = 0; e < op.experts && !sigmoid && (!op.normalise || bound.bias != nullptr); ++e)
    sum += part(e);
  if (sigmoid) {
    sum = 1;
    for (uint32_t e = 0; e < op.experts; ++e) marks[e] = part(e);
  }
  for (uint32_t e = 0; e < op.experts && bound.bias != nullptr; ++e)
    marks[e] = part(e) / sum + static_cast<double>(bound.bias[e]);
  if (op.groups > 1) keep_best_groups(op, marks);
  sort_largest(order, op.used, marks);
  if (op.normalise) {
    sum = 0;
    for (uint32_t j = 0; j < op.used; ++j) sum += part(order[j]);
  }
  std::copy_n(order.begin(), op.used, chosen);
  std::sort(chosen, chosen + op.used);
  for (uint32_t e = 0, next = 0; e < op.experts; ++e) {
    const bool taken = next < op.used && chosen[next] == e;
    double weight = taken && sum > 0 ? static_cast<double>(op.factor) * part(e) / sum : 0.0;
    if (bound.weight != nullptr) weight *= static_cast<double>((*bound.weight)[e]);
    scores[e * stride] = static_cast<float>(weight);
    next += taken ? 1 : 0;
  }
  return true;
}

}  // namespace cairn::cpu
