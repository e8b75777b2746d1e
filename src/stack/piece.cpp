#include "stack/piece.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "stack/plane_blocks.hpp"

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

}  // namespace

std::vector<std::byte> make_piece(const FittedMatrix& fitted, std::span<const float> importance,
                                  const gguf::Tensor& tensor, uint32_t rows_per_group, bool exact,
                                  Piece& piece) {
  const size_t columns = fitted.columns;
  std::vector<double> worth(fitted.rows);
  for (size_t r = 0; r < fitted.rows; ++r)
    worth[r] = static_cast<double>(importance[r]) * static_cast<double>(fitted.losses[2][r]);
  piece.matrix = {
      std::string(tensor.name),          fitted.rows, fitted.columns, rows_per_group, true, tensor.encoding,
      sorted_rows(worth, rows_per_group)};
  const Matrix& m = piece.matrix;
  piece.levels = exact ? kExact : kPlanes;
  std::vector<std::byte> blocks;
  for (uint32_t g = 0; g < m.groups(); ++g) {
    const uint32_t rows = m.group_rows(g);
    std::vector<uint8_t> codes(rows * columns);
    for (uint32_t i = 0; i < rows; ++i) {
      const uint32_t row = m.permutation[m.group_begin(g) + i];
      std::copy_n(fitted.codes.begin() + static_cast<ptrdiff_t>(row * columns), columns,
                  codes.begin() + static_cast<ptrdiff_t>(i * columns));
    }
    for (uint8_t level = 0; level <= piece.levels; ++level) {
      double loss = 0;
      std::vector<uint16_t> scales(rows);
      for (uint32_t i = 0; i < rows && level <= kPlanes; ++i) {
        const uint32_t row = m.permutation[m.group_begin(g) + i];
        loss += 0.5 * static_cast<double>(importance[row]) * static_cast<double>(fitted.losses[level][row]);
        if (level > 0) scales[i] = fitted.scales[level][row];
      }
      piece.losses.push_back(loss);
      if (level == 0) continue;
      const size_t begin = blocks.size(), bytes = block_bytes(m, Codec::planes, g, level);
      blocks.resize(begin + bytes);
      const auto out = std::span(blocks).subspan(begin);
      if (level <= kPlanes) {
        pack_planes(codes, scales, fitted.columns, level, out);
      } else {
        for (uint32_t i = 0; i < rows; ++i) {
          const uint64_t row = m.permutation[m.group_begin(g) + i];
          std::memcpy(out.data() + i * tensor.row_bytes(), tensor.data.data() + row * tensor.row_bytes(),
                      tensor.row_bytes());
        }
      }
      piece.checksums.push_back(XXH3_64bits(out.data(), bytes));
    }
  }
  std::vector<std::byte> record;
  put(record, m.permutation);
  put(record, piece.losses);
  put(record, piece.checksums);
  piece.first_block = record.size();
  record.insert(record.end(), blocks.begin(), blocks.end());
  return record;
}

uint64_t piece_head_bytes(const Matrix& m, uint32_t levels) {
  return uint64_t{m.rows} * sizeof(uint32_t) +
         uint64_t{m.groups()} * ((levels + 1) * sizeof(double) + levels * sizeof(uint64_t));
}

void read_piece(std::span<const std::byte> head, Piece& piece) {
  const size_t groups = piece.matrix.groups();
  piece.first_block = head.size();
  get(head, piece.matrix.permutation, piece.matrix.rows);
  get(head, piece.losses, groups * (piece.levels + 1));
  get(head, piece.checksums, groups * piece.levels);
}

}  // namespace cairn::stack
