#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "graph/graph.hpp"
#include "stack/distiller.hpp"

namespace cairn::stack {

// What libcairn_torch.so needs of a stack and its source to make a distiller; all but the functions must
// outlive it.
struct TorchJob {
  const graph::Model& model;
  const std::vector<CodedMatrix>& matrices;
  std::span<const int8_t> tables;                 // T_1 … T_7, one after the other
  std::span<const std::vector<int32_t>> windows;  // tokens, all of one length
  // Rows [first, first + rows) of a tensor of the source in float; a vector has one row.
  std::function<std::vector<float>(const std::string& tensor, uint64_t first, uint64_t rows)> read;
  // [width][width]: row i is what the rotation's inverse makes of the i-th unit vector.
  std::function<std::vector<float>(uint32_t width)> inverse_rotation;
  // Cosines, then sines, [positions][dims / 2] each.
  std::function<std::vector<float>(const graph::Rope&, uint32_t positions)> rope;
  TuneOn on;
  uint32_t threads;
};

}  // namespace cairn::stack
