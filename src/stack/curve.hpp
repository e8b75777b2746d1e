#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "formats/stack_file.hpp"

namespace cairn::stack {

// What a size costs, as the file itself predicts it.
struct CurvePoint {
  size_t blocks;
  uint64_t file_bytes, linear_bytes;
  double bits, loss;
};

// The base's end, every 1 % of the linear bytes after it, and the end.
std::vector<CurvePoint> size_loss_curve(const Layout& layout);

// Size–loss curve and sums for a terminal of 80 columns.
std::string describe(const Layout& layout);
// {"codec", "matrices", "blocks", "parameters", "linear_bytes", "steps", "largest_step", "base_bytes",
// "file_bytes", "present_bytes", "curve": [{"blocks", "file_bytes", "linear_bytes", "bits",
// "predicted_loss"}]}
nlohmann::ordered_json to_json(const Layout& layout);
// A page of its own with the curve as SVG.
std::string curve_html(const Layout& layout, const std::string& title);

}  // namespace cairn::stack
