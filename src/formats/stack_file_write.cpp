#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

#include "base/atomic_file.hpp"
#include "base/error.hpp"
#include "formats/stack_checksums.hpp"
#include "formats/stack_file.hpp"
#include "formats/stack_keys.hpp"

namespace cairn::stack {
namespace {

// The specification's gguf_metadata_value_type.
template <class T>
constexpr uint32_t kind_of() {
  if constexpr (std::is_same_v<T, uint8_t>) return 0;
  if constexpr (std::is_same_v<T, int8_t>) return 1;
  if constexpr (std::is_same_v<T, uint16_t>) return 2;
  if constexpr (std::is_same_v<T, uint32_t>) return 4;
  if constexpr (std::is_same_v<T, float>) return 6;
  if constexpr (std::is_same_v<T, uint64_t>) return 10;
}
constexpr uint32_t kString = 8, kArray = 9, kInt8Tensor = 24;

// Metadata pairs, counted.
class Pairs {
 public:
  void raw(std::string_view key, std::span<const std::byte> kind_and_value) {
    text(key);
    append(kind_and_value);
    ++count_;
  }
  template <class T>
  void number(std::string_view key, T value) {
    text(key);
    put(kind_of<T>());
    put(value);
    ++count_;
  }
  void string(std::string_view key, std::string_view value) {
    text(key);
    put(kString);
    text(value);
    ++count_;
  }
  template <class T>
  void array(std::string_view key, const std::vector<T>& values) {
    text(key);
    put(kArray);
    put(kind_of<T>());
    put(uint64_t{values.size()});
    append(std::as_bytes(std::span(values)));
    ++count_;
  }
  void strings(std::string_view key, const std::vector<std::string>& values) {
    text(key);
    put(kArray);
    put(kString);
    put(uint64_t{values.size()});
    for (const std::string& value : values) text(value);
    ++count_;
  }
  // Indices, in 16 bits where they fit.
  void indices(std::string_view key, const std::vector<uint32_t>& values) {
    const bool narrow = std::all_of(values.begin(), values.end(), [](uint32_t v) { return v < 65536; });
    if (!narrow) return array(key, values);
    array(key, std::vector<uint16_t>(values.begin(), values.end()));
  }

  template <class T>
  void put(T value) {
    append(std::as_bytes(std::span(&value, 1)));
  }
  void text(std::string_view value) {
    put(uint64_t{value.size()});
    append(std::as_bytes(std::span(value)));
  }
  void append(std::span<const std::byte> more) { bytes_.insert(bytes_.end(), more.begin(), more.end()); }
  uint64_t count() const { return count_; }
  std::vector<std::byte>& bytes() { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
  uint64_t count_ = 0;
};

std::vector<uint8_t> pack_rows(const Layout& layout) {
  std::vector<uint8_t> packed;
  uint64_t next = 0;
  for (const Matrix& m : layout.matrices) {
    std::vector<uint32_t> group_of(m.rows);
    for (uint32_t group = 0; group < m.groups(); ++group) {
      for (uint32_t i = 0; i < m.group_rows(group); ++i) {
        const uint32_t at = m.group_begin(group) + i;
        if (i > 0 && m.permutation[at] <= m.permutation[at - 1])
          fail(ErrorCode::invalid_argument, "matrix '{}': rows of group {} are not in order", m.name, group);
        group_of[m.permutation[at]] = group;
      }
    }
    for (const uint32_t group : group_of) {
      for (unsigned b = 0; b < group_bits(m); ++b, ++next) {
        if (next % 8 == 0) packed.push_back(0);
        packed.back() = static_cast<uint8_t>(packed.back() | (group >> b & 1) << (next % 8));
      }
    }
  }
  return packed;
}

void add_stack_keys(const Layout& layout, Pairs& pairs) {
  // Whatever an earlier cairn can read says so.
  const uint8_t planes = layout.codec == Codec::planes ? layout.planes() : kOldPlanes;
  const bool old = planes == kOldPlanes;
  pairs.number(kVersion, static_cast<uint32_t>(old ? kChecksumVersion : kPlanesVersion));
  pairs.string(kCodec, layout.codec == Codec::avd ? "avd" : "planes");
  if (!old) pairs.number(kPlaneCount, planes);
  if (layout.codec == Codec::planes) {
    const auto tables = std::span(layout.tables).first(table_offset(planes + 1u));
    pairs.array(kTables, std::vector<int8_t>(tables.begin(), tables.end()));
  }
  std::vector<std::string> names;
  std::vector<uint32_t> rows, columns, group_rows, encodings, matrix, group;
  std::vector<uint8_t> rotation, level;
  std::vector<uint64_t> checksums;
  std::vector<float> loss;
  for (const Matrix& m : layout.matrices) {
    if (m.planes != layout.planes())
      fail(ErrorCode::invalid_argument, "matrix '{}' has {} planes, the first one {}", m.name, m.planes,
           layout.planes());
    names.push_back(m.name);
    rows.push_back(m.rows);
    columns.push_back(m.columns);
    group_rows.push_back(m.rows_per_group);
    rotation.push_back(m.rotated ? 1 : 0);
    encodings.push_back(static_cast<uint32_t>(m.source));
  }
  for (const Block& b : layout.blocks) {
    matrix.push_back(b.matrix);
    group.push_back(b.group);
    level.push_back(b.level);
    checksums.push_back(b.checksum);
    loss.push_back(b.loss);
  }
  pairs.strings(kMatrixNames, names);
  pairs.array(kMatrixRows, rows);
  pairs.array(kMatrixColumns, columns);
  pairs.array(kMatrixGroupRows, group_rows);
  pairs.array(kMatrixRotation, rotation);
  pairs.array(kMatrixEncoding, encodings);
  pairs.array(kRowGroups, pack_rows(layout));
  pairs.indices(kOrderMatrix, matrix);
  pairs.indices(kOrderGroup, group);
  pairs.array(kOrderLevel, level);
  pairs.array(kOrderLoss, loss);
  pairs.array(kOrderChecksum, checksums);
}

}  // namespace

void write_stack(const std::string& path, const gguf::File& source,
                 std::span<const gguf::Tensor* const> tensors, const Layout& layout,
                 const BlockSource& block_source, const WriteProgress& progress) {
  Pairs pairs;
  pairs.number(gguf::kStackBase, uint64_t{0});  // first; its value is known at the end
  const size_t base_at = pairs.bytes().size() - sizeof(uint64_t);
  pairs.number(kHeaderChecksum, uint64_t{0});  // likewise
  const size_t sum_at = pairs.bytes().size() - sizeof(uint64_t);
  for (const auto& [key, raw] : source.raw_metadata()) {
    if (!key.starts_with(kPrefix) && !key.starts_with("split.") && key != "general.alignment")
      pairs.raw(key, raw);
  }
  pairs.number("general.alignment", static_cast<uint32_t>(kBlockAlignment));
  std::vector<uint64_t> sums;
  for (const gguf::Tensor* t : tensors) sums.push_back(XXH3_64bits(t->data.data(), t->data.size()));
  pairs.array(kTensorChecksums, sums);
  add_stack_keys(layout, pairs);

  uint64_t block_total = 0, base_total = 0;
  for (const Block& block : layout.blocks) {
    block_total += padded(block.bytes);
    if (block.level == 1) base_total += padded(block.bytes);
  }
  Pairs entries;
  uint64_t offset = 0;
  for (const gguf::Tensor* t : tensors) {
    entries.text(t->name);
    entries.put(static_cast<uint32_t>(t->shape.size()));
    for (const uint64_t length : t->shape) entries.put(length);
    entries.put(static_cast<uint32_t>(t->encoding));
    entries.put(offset);
    offset += padded(t->data.size());
  }
  entries.text(gguf::kStackBlocks);
  entries.put(uint32_t{1});
  entries.put(block_total);
  entries.put(kInt8Tensor);
  entries.put(offset);

  const uint64_t header = 4 + 4 + 8 + 8 + pairs.bytes().size() + entries.bytes().size();
  const uint64_t base = padded(header) + offset + base_total;
  std::memcpy(pairs.bytes().data() + base_at, &base, sizeof base);
  Pairs start;
  start.append(std::as_bytes(std::span(std::string_view("GGUF"))));
  start.put(uint32_t{3});
  start.put(uint64_t{tensors.size() + 1});
  start.put(pairs.count());

  const size_t pairs_at = start.bytes().size();
  start.append(pairs.bytes());
  start.append(entries.bytes());
  std::vector<std::byte>& head = start.bytes();
  head.resize(padded(header));
  const uint64_t sum = header_checksum(head, pairs_at + sum_at);
  std::memcpy(head.data() + pairs_at + sum_at, &sum, sizeof sum);

  AtomicFile file(path);
  static constexpr std::array<std::byte, kBlockAlignment> kZeros{};
  const auto pad = [&](uint64_t bytes) { file.write(std::span(kZeros).first(padded(bytes) - bytes)); };
  file.write(head);
  for (const gguf::Tensor* t : tensors) {
    file.write(t->data);
    pad(t->data.size());
  }
  std::vector<std::byte> buffer;
  uint64_t done = 0;
  for (size_t i = 0; i < layout.blocks.size(); ++i) {
    const uint64_t bytes = layout.blocks[i].bytes;
    buffer.resize(bytes);
    block_source(i, buffer);
    file.write(buffer);
    pad(bytes);
    done += padded(bytes);
    if (progress) progress(done, block_total);
  }
  file.commit();
}

}  // namespace cairn::stack
