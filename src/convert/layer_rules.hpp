#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "convert/names.hpp"

namespace cairn::convert {

// One layer's tensors, "FROM.weight" of the checkpoint's layer.
class LayerRules {
 public:
  LayerRules(TensorPlan& plan, std::string from, uint32_t layer)
      : plan_(plan), from_(std::move(from)), to_(fmt::format("blk.{}.", layer)) {}

  TensorRule& rule(std::string_view from, std::string_view to, std::vector<uint64_t> shape) {
    TensorRule rule;
    rule.from = from_ + std::string(from);
    rule.to = to_ + std::string(to);
    rule.shape = std::move(shape);
    return plan_.add(std::move(rule));
  }
  TensorRule& linear(std::string_view from, std::string_view to, uint64_t rows, uint64_t columns) {
    return rule(std::string(from) + ".weight", std::string(to) + ".weight", {rows, columns});
  }
  // Which all layers have, or none.
  TensorRule& bias(std::string_view from, std::string_view to, uint64_t rows) {
    TensorRule& bias = rule(std::string(from) + ".bias", std::string(to) + ".bias", {rows});
    bias.optional = true;
    return bias;
  }
  void norm(std::string_view from, std::string_view to, uint64_t width, bool plus_one = true) {
    TensorRule& norm = rule(std::string(from) + ".weight", std::string(to) + ".weight", {width});
    if (plus_one) norm.layout = Layout::plus_one;
  }

 private:
  TensorPlan& plan_;
  std::string from_, to_;
};

}  // namespace cairn::convert
