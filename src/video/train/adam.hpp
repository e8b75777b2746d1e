#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace cairn::video {

// Adam (arXiv 1412.6980) with β = (0.9, 0.99).
class Adam {
 public:
  explicit Adam(size_t size) : mean_(size, 0.0f), square_(size, 0.0f) {}

  void step(std::span<float> values, std::span<const float> gradient, double rate) {
    ++steps_;
    const auto first = static_cast<float>(1 - std::pow(kFirst, steps_)),
               second = static_cast<float>(1 - std::pow(kSecond, steps_));
    const auto scaled = static_cast<float>(rate / first);
    for (size_t i = 0; i < values.size(); ++i) {
      mean_[i] += (1 - kFirst) * (gradient[i] - mean_[i]);
      square_[i] += (1 - kSecond) * (gradient[i] * gradient[i] - square_[i]);
      values[i] -= scaled * mean_[i] / (std::sqrt(square_[i] / second) + 1e-8f);
    }
  }

  // What a checkpoint keeps.
  const std::vector<float>& mean() const { return mean_; }
  const std::vector<float>& square() const { return square_; }
  void resume(uint32_t steps, const std::vector<float>& mean, const std::vector<float>& square) {
    steps_ = steps;
    mean_ = mean;
    square_ = square;
  }

 private:
  static constexpr float kFirst = 0.9f, kSecond = 0.99f;
  std::vector<float> mean_, square_;
  uint32_t steps_ = 0;
};

}  // namespace cairn::video
