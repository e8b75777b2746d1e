#include "llm/pooling.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.hpp"
#include "formats/gguf.hpp"

namespace cairn::llm {

std::optional<Pooling> pooling_of(const gguf::File& file) {
  // llama.cpp's numbers, which files carry.
  constexpr uint64_t kNone = 0, kMean = 1, kFirst = 2, kLast = 3;
  const std::string key = std::string(file.text("general.architecture")) + ".pooling_type";
  const uint64_t type = file.integer(key, kMean);
  if (type == kNone || type == kMean) return Pooling::mean;
  if (type == kFirst) return Pooling::first;
  return type == kLast ? std::optional(Pooling::last) : std::nullopt;
}

void Pool::add(size_t first, std::span<const float> states) {
  const size_t width = sum_.size();
  if (width == 0 || states.empty()) return;
  if (pooling_ == Pooling::last) {
    const auto last = states.last(width);
    std::copy(last.begin(), last.end(), sum_.begin());
    summed_ = 1;
    return;
  }
  if (pooling_ == Pooling::first) {
    if (first == 0) std::copy_n(states.begin(), width, sum_.begin());
    summed_ = 1;
    return;
  }
  if (first == 0) {  // it may have been begun anew
    std::fill(sum_.begin(), sum_.end(), 0);
    summed_ = 0;
  }
  summed_ += states.size() / width;
  for (size_t i = 0; i < states.size(); ++i) sum_[i % width] += states[i];
}

std::vector<float> Pool::result(size_t dimensions, bool unit) const {
  double squares = 0;
  for (size_t i = 0; i < dimensions; ++i) squares += sum_[i] * sum_[i];
  double length = static_cast<double>(std::max<size_t>(summed_, 1));
  if (unit) length = squares > 0 ? std::sqrt(squares) : 1;  // a mean and a sum have the same direction
  std::vector<float> vector(dimensions);
  for (size_t i = 0; i < dimensions; ++i) {
    vector[i] = static_cast<float>(sum_[i] / length);
    if (!std::isfinite(vector[i])) fail(ErrorCode::numeric, "the embedding holds NaN or infinity");
  }
  return vector;
}

}  // namespace cairn::llm
