// The chips whose NPU Qualcomm's compiler and emulator know, by the names that people know them by.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace cairn::offload::onnx {

struct Chip {
  std::string_view name;     // "snapdragon-8gen3"
  std::string_view product;  // "Snapdragon 8 Gen 3 (SM8650), Hexagon V75"
  int model;                 // QNN's number (soc_model)
  int architecture;          // of its Hexagon (htp_arch)
};

std::span<const Chip> chips();
// Error invalid_argument: no such chip (the list is told).
const Chip& chip_of(std::string_view name);
// What is emulated where nothing is said: the paper's phone.
const Chip& usual_chip();

}  // namespace cairn::offload::onnx
