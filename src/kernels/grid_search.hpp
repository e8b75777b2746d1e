// The grids of the IQ encodings from the other side: which of a grid's points lie near a given one.
#pragma once

#include <cstdint>

#include "formats/encoding.hpp"

namespace cairn::kernels {

// A point has 8 or 4 coordinates of `levels` values each. A cell is one of all levels^coordinates such
// points, numbered by its coordinates' levels, the first the lowest digit. Points in eights lie coordinate by
// coordinate: [eight][coordinate][8].
struct GridSearch {
  static constexpr int kNear = 16, kNone = 0xffff;

  int coordinates, levels, points;
  float values[8], middles[7];  // ascending; what lies between two neighbours
  const uint16_t* index;        // of a cell that is a point of the grid; else kNone
  const uint16_t* near;         // [cell][kNear]: the points nearest to it
  const int8_t* near_values;    // the same in eights
  const int8_t* rows;           // [point][coordinate]
  const float* columns;         // all points in eights
};

// Made when first asked for (at most some 0.1 s). Error unsupported: an encoding without a grid.
const GridSearch& grid_search(Encoding encoding);

}  // namespace cairn::kernels
