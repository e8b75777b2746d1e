#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "formats/gguf.hpp"
#include "formats/stack_file.hpp"
#include "stack/fit.hpp"

namespace cairn::stack {

// One matrix as it lies in the spool: its rows' order, what each level of each group loses, the blocks'
// checksums, then the blocks, group by group, level by level.
struct Piece {
  Codec codec = Codec::planes;
  uint32_t levels = 0;
  Matrix matrix;                    // its sizes are known beforehand
  std::vector<double> losses;       // [group][level], level 0 … levels: predicted, nats a token
  std::vector<uint64_t> checksums;  // [group][level − 1]

  uint64_t head_bytes() const;                                 // of the record, before its blocks
  uint64_t block_offset(uint32_t group, uint8_t level) const;  // in the record
  // Takes the rows' order, losses and checksums from the beginning of a record.
  void read(std::span<const std::byte> head);
};

// One of a tensor of which nothing but the sizes is known. most_bytes: of a block, for planes.
Piece new_piece(Codec codec, uint32_t levels, const gguf::Tensor& tensor, uint64_t most_bytes);

// Both fill the piece, whose codec, levels and sizes are set, and return its record.
// planes: sorts the rows by what they lose at 2 bits, packs their groups. importance: of each row's error,
// [rows].
std::vector<std::byte> make_piece(const FittedMatrix& fitted, std::span<const float> importance,
                                  const gguf::Tensor& tensor, Piece& piece);
// avd: losses are those of avd_blocks, `worth` what one unit of them costs.
std::vector<std::byte> make_piece(const std::vector<std::vector<std::byte>>& blocks,
                                  std::span<const double> losses, double worth, Piece& piece);

// Blocks' matrix, group, level, size, checksum and predicted loss in the order of the file. planes: by gain
// for each byte; avd: level by level, within a level by gain (BitStack's order, predicted instead of
// measured).
Layout arrange(std::span<const Piece> pieces);

}  // namespace cairn::stack
