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
  uint64_t record = 0;       // of the spool
  uint64_t first_block = 0;  // where the blocks begin in it
  uint32_t levels = 0;
  Matrix matrix;
  std::vector<double> losses;       // [group][level], level 0 … levels
  std::vector<uint64_t> checksums;  // [group][level − 1]
};

// Sorts the rows by what they lose at 2 bits, packs their groups. importance: of each row's error, [rows].
// Returns the spool's record and fills the piece (record number apart).
std::vector<std::byte> make_piece(const FittedMatrix& fitted, std::span<const float> importance,
                                  const gguf::Tensor& tensor, uint32_t rows_per_group, bool exact,
                                  Piece& piece);

// The same from a record's beginning. piece.matrix has its sizes already. Error format: it does not fit.
uint64_t piece_head_bytes(const Matrix& matrix, uint32_t levels);
void read_piece(std::span<const std::byte> head, Piece& piece);

}  // namespace cairn::stack
