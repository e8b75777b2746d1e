#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/work_share.hpp"
#include "stack/encode.hpp"
#include "stack/sources.hpp"

namespace cairn::stack {

// Windows of the text, at most, for the moments of the layers that tables are fitted to.
constexpr size_t kTableWindows = 32;
// Whether tables are fitted to the model, which takes a text.
bool fits_tables(const EncodeOptions& options, size_t windows);

// How much of the making of a stack is done, and how long the rest takes: multiplications, each stage's
// weighed by what one costs there.
class Effort {
 public:
  struct Text {
    size_t windows, layers;   // of the text; of the model
    uint32_t layers_of_pass;  // whose second moments are taken in one pass over the text
  };
  // linears: how many of the sources are layers' matrices; they come first.
  Effort(const EncodeOptions& options, std::span<const Source> sources, size_t linears, const Text& text);

  // What an earlier run did, so many records of its spool, is no part of this one's time. Returns the share
  // of everything that is done.
  double skip(size_t records);
  // As EncodeProgress has it; returns the share of everything that is done.
  double update(std::string_view stage, uint64_t done, uint64_t total);
  void finish_pass() { passes_done_ += 1; }  // over the text, for second moments
  // Expected, by a short forward pass of the model that is stacked.
  double seconds_left(const llm::Model& model) const;

 private:
  const EncodeOptions& options_;
  const size_t sources_, linears_, windows_;
  double linear_parameters_ = 0;
  WorkShare work_;
  std::vector<double> codes_ = {0};  // [count]: what the codes of the first `count` sources cost
  double passes_, passes_done_ = 0;
};

}  // namespace cairn::stack
