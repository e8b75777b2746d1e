#include "stack/plane_blocks.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace cairn::stack {
namespace {

constexpr size_t kStepBytes = size_t{kTileRows} * kTileColumns / 8;

size_t scale_bytes(size_t rows) {
  return (rows * 2 + 63) / 64 * 64;
}

// The byte and the bit of a weight within a plane.
struct Place {
  size_t byte;
  unsigned bit;
};
Place place(size_t row, size_t column, size_t columns) {
  const size_t step = row / kTileRows * (columns / kTileColumns) + column / kTileColumns;
  return {step * kStepBytes + row % kTileRows * 4 + column % 4,
          static_cast<unsigned>(column % kTileColumns / 4)};
}

}  // namespace

void pack_planes(std::span<const uint8_t> codes, std::span<const uint16_t> scales, uint32_t columns,
                 uint8_t level, std::span<std::byte> out) {
  std::fill(out.begin(), out.end(), std::byte{0});
  std::memcpy(out.data(), scales.data(), scales.size_bytes());
  std::byte* plane = out.data() + scale_bytes(scales.size());
  const unsigned shift = kPlanes - level;
  for (size_t row = 0; row < scales.size(); ++row) {
    for (size_t column = 0; column < columns; ++column) {
      const Place at = place(row, column, columns);
      plane[at.byte] |= static_cast<std::byte>((codes[row * columns + column] >> shift & 1) << at.bit);
    }
  }
}

void unpack_planes(std::span<const std::byte> block, uint32_t columns, uint8_t level,
                   std::span<uint16_t> scales, std::span<uint8_t> codes) {
  std::memcpy(scales.data(), block.data(), scales.size_bytes());
  const std::byte* plane = block.data() + scale_bytes(scales.size());
  const unsigned shift = kPlanes - level;
  for (size_t row = 0; row < scales.size(); ++row) {
    for (size_t column = 0; column < columns; ++column) {
      const Place at = place(row, column, columns);
      const unsigned bit = std::to_integer<unsigned>(plane[at.byte]) >> at.bit & 1;
      uint8_t& code = codes[row * columns + column];
      code = static_cast<uint8_t>((code & ~(1u << shift)) | bit << shift);
    }
  }
}

}  // namespace cairn::stack
