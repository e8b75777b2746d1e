// A stack: a model in a GGUF file whose matrices are cut into blocks in the order in which they matter, so
// that every prefix of the file that reaches past its base is a model. docs/stack.md describes the layout.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "formats/encoding.hpp"
#include "formats/gguf.hpp"

namespace cairn::stack {

// planes: nested codes of up to 7 bits, bit plane by bit plane. avd: BitStack (arXiv 2410.23918), sign
// matrices times rank-16 products.
enum class Codec : uint8_t { planes, avd };

constexpr uint8_t kPlanes = 7;     // of new stacks, and the most that a file may have
constexpr uint8_t kOldPlanes = 6;  // of files that do not say
constexpr uint8_t kAvdLevels = 16;
constexpr uint32_t kAvdRank = 16;
constexpr uint64_t kBlockAlignment = 512;              // of blocks within the file: a sector
constexpr uint32_t kTileRows = 16, kTileColumns = 32;  // a bit plane's step: 64 bytes

// T_k of codes of k bits within a layout's tables; where T_k would begin, those of k − 1 bits end.
constexpr size_t table_offset(unsigned k) {
  return (size_t{1} << k) - 2;
}
constexpr size_t kTableEntries = table_offset(kPlanes + 1);

// A matrix that is stored as blocks. Its rows are sorted by importance and cut into groups.
struct Matrix {
  std::string name;  // the source's tensor
  uint32_t rows = 0, columns = 0;
  uint32_t rows_per_group = 0;  // a multiple of kTileRows, or all rows
  bool rotated = false;         // by quantize::Rotation(columns)
  Encoding source = Encoding::f32;
  std::vector<uint32_t> permutation;  // stored row i is the source's row permutation[i]
  uint8_t planes = kPlanes;           // levels of bit planes, as many in all of a file's matrices

  uint8_t exact() const { return static_cast<uint8_t>(planes + 1); }  // the level of the source's own rows
  uint32_t groups() const { return (rows + rows_per_group - 1) / rows_per_group; }
  uint32_t group_begin(uint32_t group) const { return group * rows_per_group; }  // first stored row
  uint32_t group_rows(uint32_t group) const {
    return std::min(rows_per_group, rows - group * rows_per_group);
  }
};

struct Block {
  uint32_t matrix = 0, group = 0;
  uint8_t level = 0;      // 1 …; the levels of a group stand in this order
  uint64_t offset = 0;    // in the file, a multiple of kBlockAlignment
  uint64_t bytes = 0;     // without padding
  uint64_t checksum = 0;  // xxh3-64 of those
  float loss = 0;  // predicted, of the prefix that ends with this block: nats a token over the source's
};

struct Layout {
  Codec codec = Codec::planes;
  std::array<int8_t, kTableEntries> tables{};  // planes: T_1 …, of as many bits as there are planes
  std::vector<Matrix> matrices;
  std::vector<Block> blocks;   // in file order
  size_t base_blocks = 0;      // the first of them: level 1 of every group
  uint64_t blocks_begin = 0;   // where the first block stands
  uint64_t base_bytes = 0;     // the shortest prefix that is a model
  uint64_t file_bytes = 0;     // when all of it is there
  uint64_t present_bytes = 0;  // what was there when the layout was read
  uint64_t side_bytes = 0;     // that the matrices take in the header, blocks' entries not counted
  uint64_t entry_bytes = 0;    // that each block takes there

  uint8_t planes() const;                           // of the matrices
  uint64_t parameters() const;                      // weights in all matrices
  uint64_t end_of(size_t count) const;              // file offset after the first `count` blocks, padded
  size_t blocks_within(uint64_t file_bytes) const;  // whole blocks in a prefix of the file
  // Bytes that the matrices take in a prefix of `count` blocks, padding and their share of the header
  // included, and that divided by their weights.
  uint64_t linear_bytes(size_t count) const;
  double bits(size_t count) const;
};

// Bytes of a block without padding. planes, levels 1 to matrix.planes: scales f16[group's rows] padded to 64
// bytes, then the bit plane; matrix.exact(): the source's rows. avd: the signs, then u and v in f16.
uint64_t block_bytes(const Matrix& matrix, Codec codec, uint32_t group, uint8_t level);
uint64_t padded(uint64_t bytes);  // to kBlockAlignment

bool is_stack(const gguf::File& file);
// Reads and checks everything but the blocks' content. Errors: format (the file, the block or matrix, and
// what is wrong; an order that repeats or skips a level; a base that is not whole); unsupported (version,
// codec, more planes than kPlanes).
Layout read_layout(const gguf::File& file);

// Reads one block's bytes into `out` (block.bytes of them) and compares the checksum. Errors: io, format
// (block named). `descriptor` is of an open file, `path` for the errors.
void read_block(int descriptor, const std::string& path, const Layout& layout, size_t block,
                std::span<std::byte> out);

// Writes a block's bytes (without padding) into `out`.
using BlockSource = std::function<void(size_t block, std::span<std::byte> out)>;
using WriteProgress = std::function<void(uint64_t done, uint64_t total)>;

// Writes a stack: metadata of `source` (its own stack keys left out), `tensors` as they are, then the blocks.
// Of the layout, codec, tables, matrices and blocks' matrix, group, level, bytes, checksum and loss count;
// the rest follows. Errors: invalid_argument (an order that is none, a level twice, matrices of different
// planes), io; no half file stays.
void write_stack(const std::string& path, const gguf::File& source,
                 std::span<const gguf::Tensor* const> tensors, const Layout& layout,
                 const BlockSource& block_source, const WriteProgress& progress = {});

}  // namespace cairn::stack
