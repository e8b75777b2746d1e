// The factors that a stack's matrices are fitted with, for inputs as wide as a model's.
//
//   bench_factors [THREADS] [WIDTH…]
//
// A line a width: seconds, and operations a second of the width's cube (a third are multiplications).
#include <fmt/format.h>

#include <chrono>
#include <exception>
#include <utility>
#include <vector>

#include "arguments.hpp"
#include "base/machine.hpp"
#include "base/random.hpp"
#include "base/thread_pool.hpp"
#include "stack/factors.hpp"

namespace cairn {
namespace {

// Moments of inputs whose neighbours are alike, dominated by their diagonal.
std::vector<float> moments(size_t width) {
  std::vector<float> all(width * width);
  Random random(1);
  for (size_t i = 0; i < width; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      const float value =
          i == j ? 2.0f : static_cast<float>(random.uniform() - 0.5) / static_cast<float>(width);
      all[i * width + j] = all[j * width + i] = value;
    }
  }
  return all;
}

void run(ThreadPool& pool, size_t width) {
  auto input = moments(width);
  const auto start = std::chrono::steady_clock::now();
  stack::factorize(std::move(input), width, pool);
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
  const double seconds = passed.count(), size = static_cast<double>(width);
  fmt::print("{:6} inputs {:8.2f} s {:7.1f} G operations/s\n", width, seconds,
             1e-9 * size * size * size / seconds);
}

}  // namespace
}  // namespace cairn

int main(int argc, char** argv) {
  try {
    cairn::ThreadPool pool(cairn::number(argc, argv, 1, cairn::usable_processors()));
    for (const size_t width : cairn::numbers(argc, argv, 2, {1536, 4864, 8960})) cairn::run(pool, width);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
