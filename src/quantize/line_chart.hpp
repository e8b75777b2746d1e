#pragma once

#include <string>
#include <vector>

namespace cairn::quantize {

struct Series {
  std::string name;
  std::vector<double> x, y;  // as many of each
};

struct LineChart {
  std::string title, x_label, y_label;
  bool log_x = false, log_y = false;  // values of 0 or less are left out
  std::vector<Series> series;         // at most four
};

// The chart as SVG with a legend; colours are the classes s0 … s3 of the page's style sheet. Every point
// tells its values when pointed at.
std::string svg(const LineChart& chart);

}  // namespace cairn::quantize
