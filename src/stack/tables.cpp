#include "stack/tables.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>

namespace cairn::stack {
namespace {

double density(double x) {
  return std::isinf(x) ? 0 : std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi);
}
double cumulative(double x) {
  return std::erfc(-x / std::numbers::sqrt2) / 2;
}
// E[x | a < x < b]
double centroid(double a, double b) {
  return (density(a) - density(b)) / (cumulative(b) - cumulative(a));
}
// ∫ (x − v)² over (a, b)
double error(double a, double b, double v) {
  const auto moment = [](double x) { return std::isinf(x) ? 0 : x * density(x); };
  return cumulative(b) - cumulative(a) + moment(a) - moment(b) - 2 * v * (density(a) - density(b)) +
         v * v * (cumulative(b) - cumulative(a));
}

// Where a cell is best cut: half way between its halves' centroids (Lloyd's condition).
double cut(double a, double b) {
  double low = std::isinf(a) ? b - 4 : a, high = std::isinf(b) ? a + 4 : b;
  for (int i = 0; i < 200; ++i) {
    const double middle = (low + high) / 2;
    (middle < (centroid(a, middle) + centroid(middle, b)) / 2 ? low : high) = middle;
  }
  return (low + high) / 2;
}

}  // namespace

Tables gaussian_tables(double first_cut) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Tables tables;
  std::vector<double> bounds = {-kInfinity, 0, kInfinity};
  for (unsigned k = 1; k <= kPlanes; ++k) {
    if (k > 1) {
      std::vector<double> finer = {bounds[0]};
      for (size_t i = 0; i + 1 < bounds.size(); ++i) {
        const double outer = i == 0 ? -first_cut : first_cut;
        finer.push_back(k == 2 ? outer : cut(bounds[i], bounds[i + 1]));
        finer.push_back(bounds[i + 1]);
      }
      bounds = finer;
    }
    const size_t n = bounds.size() - 1;
    const double largest = centroid(bounds[n - 1], kInfinity);
    tables.units[k] = static_cast<float>(largest / 127);
    double distortion = 0;
    for (size_t i = 0; i < n; ++i) {
      const double value = std::round(centroid(bounds[i], bounds[i + 1]) / largest * 127);
      tables.integers[table_offset(k) + i] = static_cast<int8_t>(value);
      tables.values[k].push_back(static_cast<float>(value) * tables.units[k]);
      distortion += error(bounds[i], bounds[i + 1], value * largest / 127);
    }
    tables.distortion[k] = static_cast<float>(distortion);
  }
  return tables;
}

std::vector<std::byte> table_bytes(const Tables& tables) {
  std::vector<std::byte> bytes(sizeof tables.units + sizeof tables.integers);
  std::memcpy(bytes.data(), tables.units.data(), sizeof tables.units);
  std::memcpy(bytes.data() + sizeof tables.units, tables.integers.data(), sizeof tables.integers);
  return bytes;
}

void set_tables(std::span<const std::byte> bytes, Tables& tables) {
  std::memcpy(tables.units.data(), bytes.data(), sizeof tables.units);
  std::memcpy(tables.integers.data(), bytes.data() + sizeof tables.units, sizeof tables.integers);
  for (unsigned k = 1; k <= kPlanes; ++k) {
    for (size_t i = 0; i < tables.values[k].size(); ++i)
      tables.values[k][i] = static_cast<float>(tables.integers[table_offset(k) + i]) * tables.units[k];
  }
}

}  // namespace cairn::stack
