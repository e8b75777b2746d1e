#include "formats/stack_file.hpp"

#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.hpp"
#include "formats/byte_reader.hpp"
#include "formats/stack_checksums.hpp"
#include "formats/stack_keys.hpp"

namespace cairn::stack {
namespace {

// Rows and columns beyond this are no model's; products of two stay far below 2^63.
constexpr uint64_t kMostRows = uint64_t{1} << 24;

template <class T>
std::vector<T> numbers(const gguf::File& file, std::string_view key, size_t count, uint64_t most) {
  std::vector<T> result;
  for (const int64_t value : file.integers(key)) {
    if (value < 0 || static_cast<uint64_t>(value) > most)
      fail(ErrorCode::format, "{}: metadata: '{}' holds {}, beyond 0 to {}", file.path(), key, value, most);
    result.push_back(static_cast<T>(value));
  }
  if (result.size() != count)
    fail(ErrorCode::format, "{}: metadata: '{}' has {} elements, expected {}", file.path(), key,
         result.size(), count);
  return result;
}

uint8_t read_plane_count(const gguf::File& file) {
  if (file.find(kPlaneCount) == nullptr) return kOldPlanes;
  const uint64_t planes = file.integer(kPlaneCount);
  if (planes < 1 || planes > kPlanes)
    fail(ErrorCode::unsupported, "{}: a stack of {} planes is not supported (1 to {} are)", file.path(),
         planes, kPlanes);
  return static_cast<uint8_t>(planes);
}

void read_tables(const gguf::File& file, uint8_t planes, Layout& layout) {
  const std::vector<int64_t> values = file.integers(kTables);
  if (values.size() != table_offset(planes + 1u))
    fail(ErrorCode::format, "{}: metadata: '{}' has {} elements, expected {} of {} planes", file.path(),
         kTables, values.size(), table_offset(planes + 1u), planes);
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] < -127 || values[i] > 127)
      fail(ErrorCode::format, "{}: metadata: '{}' holds {}, beyond -127 to 127", file.path(), kTables,
           values[i]);
    layout.tables[i] = static_cast<int8_t>(values[i]);
  }
  // Kernels know one half of it.
  const int8_t* const seven = layout.tables.data() + table_offset(7);
  for (size_t code = 0; code < 64; ++code) {
    if (seven[code] != -seven[127 - code])
      fail(ErrorCode::format,
           "{}: metadata: '{}': of 7 bits, {} of code {} is not {} of code {} with the other sign",
           file.path(), kTables, seven[code], code, seven[127 - code], 127 - code);
  }
}

void check_matrix(const gguf::File& file, Codec codec, const Matrix& m) {
  const auto refuse = [&](const std::string& reason) {
    fail(ErrorCode::format, "{}: stack: matrix {}: {}", file.path(), quote(m.name), reason);
  };
  if (m.rows == 0 || m.columns == 0) refuse(fmt::format("has {} rows of {}", m.rows, m.columns));
  if (file.find_tensor(m.name) != nullptr) refuse("is a tensor of the file as well");
  const EncodingInfo* source = find_encoding(static_cast<uint32_t>(m.source));
  if (source == nullptr) refuse(fmt::format("encoding {} is not known", static_cast<uint32_t>(m.source)));
  if (m.columns % source->block_elements != 0)
    refuse(fmt::format("{} columns are not a whole number of {} blocks", m.columns, source->name));
  if (codec == Codec::avd) {
    if (m.rows_per_group != m.rows) refuse("is cut into groups, which avd has not");
  } else {
    if (m.columns % kTileColumns != 0) refuse(fmt::format("{} columns, not a multiple of 32", m.columns));
    if (m.rows_per_group == 0 || m.rows_per_group % kTileRows != 0)
      refuse(fmt::format("groups of {} rows, not a multiple of 16", m.rows_per_group));
  }
}

std::vector<Matrix> read_matrices(const gguf::File& file, Codec codec, uint8_t planes) {
  const std::vector<std::string_view> names = file.texts(kMatrixNames);
  const size_t n = names.size();
  const auto rows = numbers<uint32_t>(file, kMatrixRows, n, kMostRows);
  const auto columns = numbers<uint32_t>(file, kMatrixColumns, n, kMostRows);
  const auto per_group = numbers<uint32_t>(file, kMatrixGroupRows, n, kMostRows);
  const auto rotation = numbers<uint8_t>(file, kMatrixRotation, n, 1);
  const auto source = numbers<uint32_t>(file, kMatrixEncoding, n, std::numeric_limits<uint32_t>::max());
  std::vector<Matrix> matrices(n);
  for (size_t i = 0; i < n; ++i) {
    Matrix& m = matrices[i];
    m = {std::string(names[i]),
         rows[i],
         columns[i],
         per_group[i],
         rotation[i] == 1,
         static_cast<Encoding>(source[i]),
         {},
         planes};
    for (size_t j = 0; j < i; ++j) {
      if (matrices[j].name == m.name)
        fail(ErrorCode::format, "{}: stack: matrix {} appears twice", file.path(), quote(m.name));
    }
    check_matrix(file, codec, m);
  }
  return matrices;
}

// Each row's group, in as few bits as the groups need; stored rows keep the source's order within a group.
void read_rows(const gguf::File& file, Layout& layout) {
  uint64_t bits = 0;
  for (const Matrix& m : layout.matrices) bits += uint64_t{m.rows} * group_bits(m);
  const auto packed = numbers<uint8_t>(file, kRowGroups, static_cast<size_t>((bits + 7) / 8), 255);
  uint64_t next = 0;
  for (Matrix& m : layout.matrices) {
    std::vector<uint32_t> filled(m.groups());
    m.permutation.resize(m.rows);
    for (uint32_t row = 0; row < m.rows; ++row) {
      uint32_t group = 0;
      for (unsigned b = 0; b < group_bits(m); ++b, ++next) {
        group |= static_cast<uint32_t>(packed[next / 8] >> (next % 8) & 1) << b;
      }
      if (group >= m.groups() || filled[group] == m.group_rows(group))
        fail(ErrorCode::format, "{}: stack: matrix {}: row {} is in group {}, which {}", file.path(),
             quote(m.name), row, group, group >= m.groups() ? "does not exist" : "is full");
      m.permutation[m.group_begin(group) + filled[group]++] = row;
    }
  }
}

void read_order(const gguf::File& file, Layout& layout) {
  const std::vector<int64_t> levels = file.integers(kOrderLevel);
  const size_t n = levels.size();
  const auto matrix = numbers<uint32_t>(file, kOrderMatrix, n, layout.matrices.size());
  const auto group = numbers<uint32_t>(file, kOrderGroup, n, kMostRows);
  const std::vector<double> loss = file.numbers(kOrderLoss);
  const gguf::Value* checksums = file.find(kOrderChecksum);
  const auto* sums = checksums ? std::get_if<std::vector<uint64_t>>(checksums) : nullptr;
  if (loss.size() != n || sums == nullptr || sums->size() != n)
    fail(ErrorCode::format, "{}: stack: its order's arrays have different lengths", file.path());
  std::vector<std::vector<uint8_t>> reached;
  size_t groups = 0;
  for (const Matrix& m : layout.matrices) {
    reached.emplace_back(m.groups());
    groups += m.groups();
  }
  const int64_t last = layout.codec == Codec::avd ? kAvdLevels : layout.planes() + 1;
  uint64_t offset = layout.blocks_begin;
  for (size_t i = 0; i < n; ++i) {
    if (matrix[i] >= layout.matrices.size())
      fail(ErrorCode::format, "{}: stack: block {} is of matrix {} of {}", file.path(), i, matrix[i],
           layout.matrices.size());
    const Matrix& m = layout.matrices[matrix[i]];
    const auto refuse = [&](const std::string& reason) {
      fail(ErrorCode::format, "{}: stack: block {} ({}, group {}, level {}): {}", file.path(), i,
           quote(m.name), group[i], levels[i], reason);
    };
    if (group[i] >= m.groups()) refuse(fmt::format("the matrix has {} groups", m.groups()));
    if (levels[i] < 1 || levels[i] > last) refuse(fmt::format("levels are 1 to {}", last));
    uint8_t& before = reached[matrix[i]][group[i]];
    if (levels[i] <= before) refuse("the order repeats a level");
    if (levels[i] > before + 1) refuse(fmt::format("the order skips level {}", before + 1));
    if ((levels[i] == 1) != (i < groups)) refuse("level 1 of every group comes first");
    before = static_cast<uint8_t>(levels[i]);
    Block block{matrix[i], group[i], before, offset, 0, (*sums)[i], static_cast<float>(loss[i])};
    block.bytes = block_bytes(m, layout.codec, block.group, block.level);
    offset += padded(block.bytes);
    if (offset > layout.file_bytes)
      refuse(fmt::format("ends at byte {}, the blocks at {}", offset, layout.file_bytes));
    layout.blocks.push_back(block);
  }
  if (n < groups)
    fail(ErrorCode::format, "{}: stack: {} blocks, fewer than the {} of its base", file.path(), n, groups);
  if (offset != layout.file_bytes)
    fail(ErrorCode::format, "{}: stack: the blocks end at byte {}, expected {}", file.path(),
         layout.file_bytes, offset);
  layout.base_blocks = groups;
  layout.base_bytes = layout.end_of(groups);
}

}  // namespace

unsigned group_bits(const Matrix& matrix) {
  return static_cast<unsigned>(std::bit_width(matrix.groups() - 1));
}

uint64_t padded(uint64_t bytes) {
  return (bytes + kBlockAlignment - 1) / kBlockAlignment * kBlockAlignment;
}

uint64_t block_bytes(const Matrix& m, Codec codec, uint32_t group, uint8_t level) {
  if (codec == Codec::avd) {
    const uint64_t factors = uint64_t{kAvdRank} * (uint64_t{m.rows} + m.columns) * 2;
    return (uint64_t{m.rows} * m.columns + 7) / 8 + factors + (level == 1 ? uint64_t{m.columns} * 2 : 0);
  }
  const uint64_t rows = m.group_rows(group);
  if (level == m.exact()) {
    const EncodingInfo& e = info(m.source);
    return rows * (m.columns / e.block_elements * e.block_bytes);
  }
  const uint64_t tiled = (rows + kTileRows - 1) / kTileRows * kTileRows;
  return (rows * 2 + 63) / 64 * 64 + tiled * m.columns / 8;
}

uint8_t Layout::planes() const {
  return matrices.empty() ? kPlanes : matrices.front().planes;
}

uint64_t Layout::parameters() const {
  uint64_t sum = 0;
  for (const Matrix& m : matrices) sum += uint64_t{m.rows} * m.columns;
  return sum;
}

uint64_t Layout::end_of(size_t count) const {
  return count == 0 ? blocks_begin : blocks[count - 1].offset + padded(blocks[count - 1].bytes);
}

size_t Layout::blocks_within(uint64_t bytes) const {
  // The last block's padding may be missing.
  const auto beyond = std::partition_point(blocks.begin(), blocks.end(),
                                           [&](const Block& b) { return b.offset + b.bytes <= bytes; });
  return static_cast<size_t>(beyond - blocks.begin());
}

uint64_t Layout::linear_bytes(size_t count) const {
  return side_bytes + entry_bytes * count + end_of(count) - blocks_begin;
}

double Layout::bits(size_t count) const {
  return 8.0 * static_cast<double>(linear_bytes(count)) / static_cast<double>(parameters());
}

bool is_stack(const gguf::File& file) {
  return file.find(kVersion) != nullptr;
}

Layout read_layout(const gguf::File& file) {
  if (!is_stack(file)) fail(ErrorCode::invalid_argument, "{}: is not a stack", file.path());
  if (const uint64_t version = file.integer(kVersion);
      version != 1 && version != kChecksumVersion && version != kPlanesVersion)
    fail(ErrorCode::unsupported, "{}: stack version {} is not supported (1, 2 and 4 are)", file.path(),
         version);
  const std::string_view codec = file.text(kCodec);
  if (codec != "planes" && codec != "avd")
    fail(ErrorCode::unsupported, "{}: stack codec {} is not known", file.path(), quote(codec));
  if (!file.stack_region())
    fail(ErrorCode::format, "{}: stack: tensor '{}' is missing", file.path(), gguf::kStackBlocks);
  Layout layout;
  layout.codec = codec == "avd" ? Codec::avd : Codec::planes;
  layout.blocks_begin = file.stack_region()->offset;
  layout.file_bytes = file.stack_region()->offset + file.stack_region()->bytes;
  layout.present_bytes = std::min(file.file_bytes(), layout.file_bytes);
  if (layout.blocks_begin % kBlockAlignment != 0)
    fail(ErrorCode::format, "{}: stack: blocks begin at byte {}, not at a multiple of {}", file.path(),
         layout.blocks_begin, kBlockAlignment);
  const uint8_t planes = read_plane_count(file);
  if (layout.codec == Codec::planes) read_tables(file, planes, layout);
  layout.matrices = read_matrices(file, layout.codec, planes);
  read_rows(file, layout);
  read_order(file, layout);
  for (const auto& [key, raw] : file.raw_metadata()) {
    // What is not the matrices' does not count.
    if (!key.starts_with(kPrefix) || key == kHeaderChecksum || key == kTensorChecksums) continue;
    constexpr std::array kEntries = {kOrderMatrix, kOrderGroup, kOrderLevel, kOrderLoss, kOrderChecksum};
    if (std::ranges::find(kEntries, key) == kEntries.end()) {
      layout.side_bytes += key.size() + raw.size();
    } else if (!layout.blocks.empty()) {  // an array: two kinds and its length come before the elements
      layout.entry_bytes += (raw.size() - 16) / layout.blocks.size();
    }
  }
  const size_t there = layout.blocks_within(layout.present_bytes);
  if (there < layout.base_blocks)
    fail(ErrorCode::format, "{}: is cut inside its stack's base: {} of {} bytes are there, {} are missing",
         file.path(), file.file_bytes(), layout.base_bytes, layout.base_bytes - file.file_bytes());
  return layout;
}

void read_block(int descriptor, const std::string& path, const Layout& layout, size_t index,
                std::span<std::byte> out) {
  const Block& block = layout.blocks[index];
  const auto name = [&] {
    return fmt::format("block {} ({}, group {}, level {})", index, quote(layout.matrices[block.matrix].name),
                       block.group, block.level);
  };
  for (size_t done = 0; done < block.bytes;) {
    const auto offset = static_cast<off_t>(block.offset + done);
    const ssize_t got = pread(descriptor, out.data() + done, block.bytes - done, offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(ErrorCode::io, "{}: {}: cannot read: {}", path, name(), std::strerror(errno));
    if (got == 0) fail(ErrorCode::io, "{}: {}: the file ends at byte {}", path, name(), offset);
    done += static_cast<size_t>(got);
  }
  if (XXH3_64bits(out.data(), block.bytes) != block.checksum)
    fail(ErrorCode::format, "{}: {}: its checksum is wrong", path, name());
}

}  // namespace cairn::stack
