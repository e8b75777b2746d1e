#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/stack_file.hpp"

namespace cairn::stack {

// A block of a level of planes in the layout of docs/stack.md. codes: [rows][columns], of kPlanes bits each,
// the lowest of which stay 0 where a file has fewer; scales: of the rows at this level, as halves.
void pack_planes(std::span<const uint8_t> codes, std::span<const uint16_t> scales, uint32_t columns,
                 uint8_t level, std::span<std::byte> out);
// The other way: sets bit `level` of `codes` (the top bit is level 1) and writes the scales.
void unpack_planes(std::span<const std::byte> block, uint32_t columns, uint8_t level,
                   std::span<uint16_t> scales, std::span<uint8_t> codes);

}  // namespace cairn::stack
