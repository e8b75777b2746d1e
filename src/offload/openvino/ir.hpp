// The graphs as OpenVINO reads them: its intermediate representation (IR), XML beside one buffer of
// constants.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "offload/accelerator.hpp"

namespace cairn::offload::openvino {

// What alone decides a compiled graph when weights are inputs: all layers of a model share it.
struct GraphShape {
  uint32_t tokens = 0, k = 0;
  std::vector<uint32_t> rows;  // of each linear
  auto operator<=>(const GraphShape&) const = default;
  std::string text() const;  // "256x576:576,192,192"
};

// Errors: invalid_argument (nothing to compute, linears of different k, weights beyond 2 GiB).
GraphShape shape_of(const Int8Graph& graph);

// Where weights lie in one block of memory: first the constants of the graph, then for each linear its values
// [rows][k] int8 and its scales [rows] float, each 64-byte aligned.
struct WeightLayout {
  struct Linear {
    size_t values = 0, scales = 0;  // offsets
  };
  explicit WeightLayout(const GraphShape& shape);
  std::vector<Linear> linears;
  size_t bytes = 0;
  static constexpr size_t kConstants = 64;
  static void put_constants(std::byte* block);
};

// inputs: x, then each linear's values and scales, are inputs; one compiled graph serves every layer.
// constants: the weights are compiled in, as NPUs like it.
enum class WeightPlacement : uint8_t { inputs, constants };
// int8: real int8 products. f32: the same integers multiplied as floats, where int8 products are not exact.
enum class Arithmetic : uint8_t { int8, f32 };

// Outputs, one a linear: [tokens][rows] f32. Constants are at WeightLayout's offsets.
std::string write_ir(const GraphShape& shape, WeightPlacement placement, Arithmetic arithmetic);

}  // namespace cairn::offload::openvino
