#include "kernels/planes.hpp"

namespace cairn::kernels {

PlaneTable make_plane_table(uint32_t level, const int8_t* values) {
  PlaneTable table{};
  for (uint32_t which = 0; which < 4; ++which) {
    for (uint32_t nibble = 0; nibble < 16; ++nibble) {
      // Codes of fewer than four bits leave bits of the nibble unused: below for 3, above for 1 and 2.
      const uint32_t code = level == 1   ? nibble & 1
                            : level == 2 ? nibble & 3
                            : level == 3 ? nibble >> 1
                            : level == 4 ? nibble
                            : level == 5 ? 2 * nibble + (which & 1)
                            : level == 6 ? 4 * nibble + which
                                         : 64 + 4 * nibble + which;
      table.entries[which][nibble] = values[code];
    }
  }
  return table;
}

}  // namespace cairn::kernels
