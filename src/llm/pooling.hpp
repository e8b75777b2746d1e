#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace cairn::gguf {
class File;
}

namespace cairn::llm {

// How the hidden states of a text's tokens become one vector.
enum class Pooling : uint8_t { mean, first, last };  // first: of [CLS]

// What the file asks for (ARCHITECTURE.pooling_type), the mean if it does not say. nullopt: another way.
std::optional<Pooling> pooling_of(const gguf::File& file);

// A text's embedding, from its states as they come.
class Pool {
 public:
  Pool(Pooling pooling, size_t width) : pooling_(pooling), sum_(width) {}

  void add(size_t first, std::span<const float> states);  // [tokens][width], of tokens from `first` on
  // dimensions: of the vector, the first so many of it; the others are cut off before. unit: of length 1.
  // Error numeric (NaN, infinity).
  std::vector<float> result(size_t dimensions, bool unit = true) const;

 private:
  const Pooling pooling_;
  std::vector<double> sum_;  // or the last state
  size_t summed_ = 0;        // states
};

}  // namespace cairn::llm
