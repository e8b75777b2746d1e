// What a stack's codes cost: rows of a matrix fitted, for inputs as wide as a model's.
//
//   bench_fit [ROWS] [SWEEPS] [WIDTH…]
//
// A line a width: seconds of one processor for the factors, milliseconds of it a row, and what rows lose at
// each level (of what they are).
#include <fmt/format.h>

#include <cmath>
#include <ctime>
#include <exception>
#include <utility>
#include <vector>

#include "arguments.hpp"
#include "base/random.hpp"
#include "base/thread_pool.hpp"
#include "stack/factors.hpp"
#include "stack/fit.hpp"

namespace cairn {
namespace {

float normal(Random& random) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += random.uniform();
  return static_cast<float>(sum);
}

// Of inputs with few strong directions, as a transformer's are.
std::vector<float> moments(size_t width) {
  constexpr size_t kDirections = 32;
  Random random(1);
  std::vector<float> directions(kDirections * width), all(width * width);
  for (size_t d = 0; d < kDirections; ++d) {
    for (size_t i = 0; i < width; ++i)
      directions[d * width + i] = normal(random) * 4 / static_cast<float>(1 + d);
  }
  for (size_t i = 0; i < width; ++i) {
    all[i * width + i] = 1;
    for (size_t d = 0; d < kDirections; ++d) {
      for (size_t j = 0; j < width; ++j)
        all[i * width + j] += directions[d * width + i] * directions[d * width + j];
    }
  }
  return all;
}

double seconds_since(std::clock_t start) {
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

void run(size_t rows, unsigned sweeps, size_t width) {
  ThreadPool pool(1);
  auto input = moments(width);
  std::clock_t start = std::clock();
  const stack::Factors factors = stack::factorize(std::move(input), width, pool);
  const double first = seconds_since(start);
  std::vector<float> weights(rows * width);
  Random random(2);
  for (float& w : weights) w = 0.02f * normal(random);
  stack::FitOptions options;
  options.sweeps = sweeps;
  start = std::clock();
  const auto fitted = stack::fit_matrix(weights, static_cast<uint32_t>(rows), static_cast<uint32_t>(width),
                                        factors, stack::gaussian_tables(), options, pool);
  const double passed = seconds_since(start);
  fmt::print("{:6} inputs {:8.2f} s of factors {:9.3f} ms a row, loses", width, first,
             1e3 * passed / static_cast<double>(rows));
  double whole = 0;
  for (unsigned k = 0; k < fitted.losses.size(); ++k) {
    double sum = 0;
    for (const float loss : fitted.losses[k]) sum += static_cast<double>(loss);
    if (k == 0)
      whole = sum;
    else
      fmt::print(" {:.3e}", sum / whole);
  }
  fmt::print("\n");
}

}  // namespace
}  // namespace cairn

int main(int argc, char** argv) {
  try {
    const size_t rows = cairn::number(argc, argv, 1, 64);
    const auto sweeps = static_cast<unsigned>(cairn::number(argc, argv, 2, 8));
    for (const size_t width : cairn::numbers(argc, argv, 3, {576, 1536})) cairn::run(rows, sweeps, width);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
