#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace cairn::kernels {

inline std::vector<float> random_floats(size_t n, uint32_t seed, float least = -1, float most = 1) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(least, most);
  std::vector<float> x(n);
  for (float& v : x) v = uniform(random);
  return x;
}

}  // namespace cairn::kernels
