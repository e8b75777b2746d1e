#include "server/pooling.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "formats/gguf.hpp"

namespace cairn::server {

std::optional<Pooling> pooling_of(const gguf::File& file) {
  // llama.cpp's numbers, which files carry.
  constexpr uint64_t kNone = 0, kMean = 1, kLast = 3;
  const std::string key = std::string(file.text("general.architecture")) + ".pooling_type";
  const uint64_t type = file.integer(key, kMean);
  if (type == kNone || type == kMean) return Pooling::mean;
  return type == kLast ? std::optional(Pooling::last) : std::nullopt;
}

void Pool::add(size_t first, std::span<const float> states) {
  const size_t width = sum_.size();
  if (width == 0 || states.empty()) return;
  if (pooling_ == Pooling::last) {
    const auto last = states.last(width);
    std::copy(last.begin(), last.end(), sum_.begin());
    return;
  }
  if (first == 0) std::fill(sum_.begin(), sum_.end(), 0);  // it may have been begun anew
  for (size_t i = 0; i < states.size(); ++i) sum_[i % width] += states[i];
}

// A mean and a sum have the same direction.
std::vector<float> Pool::result(size_t dimensions) const {
  double squares = 0;
  for (size_t i = 0; i < dimensions; ++i) squares += sum_[i] * sum_[i];
  const double length = squares > 0 ? std::sqrt(squares) : 1;
  std::vector<float> vector(dimensions);
  for (size_t i = 0; i < dimensions; ++i) vector[i] = static_cast<float>(sum_[i] / length);
  return vector;
}

}  // namespace cairn::server
