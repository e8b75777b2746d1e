#include "offload/onnx/chips.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/error.hpp"

namespace cairn::offload::onnx {
namespace {

constexpr std::array<Chip, 6> kChips = {{
    {"snapdragon-8gen3", "Snapdragon 8 Gen 3 (SM8650), Hexagon V75", 57, 75},
    {"snapdragon-8gen2", "Snapdragon 8 Gen 2 (SM8550), Hexagon V73", 43, 73},
    {"snapdragon-8-elite", "Snapdragon 8 Elite (SM8750), Hexagon V79", 69, 79},
    {"snapdragon-8-elite-gen5", "Snapdragon 8 Elite Gen 5 (SM8850), Hexagon V81", 87, 81},
    {"snapdragon-x-elite", "Snapdragon X Elite (SC8380XP), Hexagon V73", 60, 73},
    {"qcs6490", "QCS6490, Hexagon V68", 93, 68},
}};

}  // namespace

std::span<const Chip> chips() {
  return kChips;
}

const Chip& chip_of(std::string_view name) {
  const auto found = std::ranges::find(kChips, name, &Chip::name);
  if (found != kChips.end()) return *found;
  std::vector<std::string_view> names;
  for (const Chip& chip : kChips) names.push_back(chip.name);
  fail(ErrorCode::invalid_argument, "no chip is called '{}': there are {}", name, fmt::join(names, ", "));
}

const Chip& usual_chip() {
  return kChips.front();
}

}  // namespace cairn::offload::onnx
