#include "stack/piece.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "base/error.hpp"
#include "stack/order.hpp"
#include "stack/plane_blocks.hpp"
#include "stack/sources.hpp"

namespace cairn::stack {
namespace {

template <class T>
void put(std::vector<std::byte>& to, const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  to.insert(to.end(), bytes.begin(), bytes.end());
}
template <class T>
void get(std::span<const std::byte>& from, std::vector<T>& values, size_t count) {
  values.resize(count);
  std::memcpy(values.data(), from.data(), count * sizeof(T));
  from = from.subspan(count * sizeof(T));
}

std::vector<uint32_t> sorted_rows(const std::vector<double>& worth, uint32_t rows_per_group) {
  std::vector<uint32_t> order(worth.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return worth[a] > worth[b]; });
  // Within a group the source's order: the file then needs to say no more than each row's group.
  for (size_t begin = 0; begin < order.size(); begin += rows_per_group) {
    const size_t end = std::min(order.size(), begin + rows_per_group);
    std::sort(order.begin() + static_cast<ptrdiff_t>(begin), order.begin() + static_cast<ptrdiff_t>(end));
  }
  return order;
}

std::vector<std::byte> record_of(Piece& piece, const std::vector<std::byte>& blocks) {
  std::vector<std::byte> record;
  record.reserve(piece.head_bytes() + blocks.size());
  put(record, piece.matrix.permutation);
  put(record, piece.losses);
  put(record, piece.checksums);
  record.insert(record.end(), blocks.begin(), blocks.end());
  return record;
}

// One group's rows of a fitted matrix, gathered.
struct GroupRows {
  std::vector<uint8_t> codes;
  std::span<const uint32_t> rows;  // the source's
};

GroupRows gather(const FittedMatrix& fitted, const Matrix& m, uint32_t group) {
  GroupRows result{{}, std::span(m.permutation).subspan(m.group_begin(group), m.group_rows(group))};
  for (const uint32_t row : result.rows) {
    const auto from = fitted.codes.begin() + static_cast<ptrdiff_t>(size_t{row} * m.columns);
    result.codes.insert(result.codes.end(), from, from + m.columns);
  }
  return result;
}

void pack(const FittedMatrix& fitted, const GroupRows& group, const gguf::Tensor& tensor, uint8_t level,
          std::span<std::byte> out) {
  if (level > kPlanes) {
    const uint64_t bytes = tensor.row_bytes();
    for (size_t i = 0; i < group.rows.size(); ++i)
      std::memcpy(out.data() + i * bytes, tensor.data.data() + group.rows[i] * bytes, bytes);
    return;
  }
  std::vector<uint16_t> scales;
  for (const uint32_t row : group.rows) scales.push_back(fitted.scales[level][row]);
  pack_planes(group.codes, scales, fitted.columns, level, out);
}

}  // namespace

uint64_t Piece::head_bytes() const {
  return uint64_t{matrix.rows} * sizeof(uint32_t) +
         uint64_t{matrix.groups()} * ((levels + 1) * sizeof(double) + levels * sizeof(uint64_t));
}

uint64_t Piece::block_offset(uint32_t group, uint8_t level) const {
  uint64_t offset = head_bytes();
  for (uint32_t g = 0; g <= group; ++g) {
    const uint32_t end = g < group ? levels + 1 : level;
    for (uint8_t k = 1; k < end; ++k) offset += block_bytes(matrix, codec, g, k);
  }
  return offset;
}

void Piece::read(std::span<const std::byte> head) {
  get(head, matrix.permutation, matrix.rows);
  get(head, losses, size_t{matrix.groups()} * (levels + 1));
  get(head, checksums, size_t{matrix.groups()} * levels);
}

Piece new_piece(Codec codec, uint32_t levels, const gguf::Tensor& tensor, uint64_t most_bytes) {
  const auto rows = static_cast<uint32_t>(tensor.rows()),
             columns = static_cast<uint32_t>(tensor.row_elements());
  const bool planes = codec == Codec::planes;
  Piece piece;
  piece.codec = codec;
  piece.levels = levels;
  piece.matrix = {std::string(tensor.name),
                  rows,
                  columns,
                  planes ? choose_group_rows(rows, columns, most_bytes) : rows,
                  planes,
                  tensor.encoding,
                  {}};
  return piece;
}

std::vector<std::byte> make_piece(const FittedMatrix& fitted, std::span<const float> importance,
                                  const gguf::Tensor& tensor, Piece& piece) {
  Matrix& m = piece.matrix;
  std::vector<double> worth(fitted.rows);
  for (size_t r = 0; r < fitted.rows; ++r)
    worth[r] = static_cast<double>(importance[r]) * static_cast<double>(fitted.losses[2][r]);
  m.permutation = sorted_rows(worth, m.rows_per_group);
  std::vector<std::byte> blocks;
  for (uint32_t g = 0; g < m.groups(); ++g) {
    const GroupRows group = gather(fitted, m, g);
    for (uint8_t level = 0; level <= piece.levels; ++level) {
      double loss = 0;
      for (size_t i = 0; i < group.rows.size() && level <= kPlanes; ++i) {
        const uint32_t row = group.rows[i];
        loss += 0.5 * static_cast<double>(importance[row]) * static_cast<double>(fitted.losses[level][row]);
      }
      if (!std::isfinite(loss)) fail(ErrorCode::numeric, "{}: what its rows cost is {}", m.name, loss);
      piece.losses.push_back(loss);
      if (level == 0) continue;
      const size_t begin = blocks.size();
      blocks.resize(begin + block_bytes(m, Codec::planes, g, level));
      const auto out = std::span(blocks).subspan(begin);
      pack(fitted, group, tensor, level, out);
      piece.checksums.push_back(XXH3_64bits(out.data(), out.size()));
    }
  }
  return record_of(piece, blocks);
}

std::vector<std::byte> make_piece(const std::vector<std::vector<std::byte>>& blocks,
                                  std::span<const double> losses, double worth, Piece& piece) {
  piece.matrix.permutation.resize(piece.matrix.rows);
  std::iota(piece.matrix.permutation.begin(), piece.matrix.permutation.end(), 0u);
  for (const double loss : losses) piece.losses.push_back(loss * worth);
  std::vector<std::byte> all;
  for (const std::vector<std::byte>& block : blocks) {
    piece.checksums.push_back(XXH3_64bits(block.data(), block.size()));
    all.insert(all.end(), block.begin(), block.end());
  }
  return record_of(piece, all);
}

Layout arrange(std::span<const Piece> pieces) {
  Layout layout;
  std::vector<Ladder> ladders;
  std::vector<std::pair<uint32_t, uint32_t>> groups;  // of each ladder: matrix, group
  for (uint32_t i = 0; i < pieces.size(); ++i) {
    const Piece& piece = pieces[i];
    layout.codec = piece.codec;
    layout.matrices.push_back(piece.matrix);
    for (uint32_t g = 0; g < piece.matrix.groups(); ++g) {
      Ladder ladder;
      for (uint8_t level = 1; level <= piece.levels; ++level) {
        ladder.bytes.push_back(padded(block_bytes(piece.matrix, piece.codec, g, level)));
        ladder.losses.push_back(piece.losses[g * (piece.levels + 1) + level]);
      }
      ladders.push_back(std::move(ladder));
      groups.emplace_back(i, g);
    }
  }
  const auto steps = layout.codec == Codec::avd ? order_by_level(ladders) : order_steps(ladders);
  for (const Step& step : steps) {
    const auto [matrix, group] = groups[step.ladder];
    const Piece& piece = pieces[matrix];
    Block block{matrix, group, step.level, 0, 0, 0, static_cast<float>(step.loss)};
    block.bytes = block_bytes(piece.matrix, piece.codec, group, step.level);
    block.checksum = piece.checksums[size_t{group} * piece.levels + step.level - 1];
    layout.blocks.push_back(block);
  }
  return layout;
}

}  // namespace cairn::stack
