#include "offload/fixed_planes.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <utility>

#include "base/error.hpp"

namespace cairn::offload {

FixedPlanes::FixedPlanes(const resident::Set& set, const resident::Matrix& matrix, size_t blocks,
                         std::function<void(const std::string&)> notice)
    : set_(set), matrix_(matrix), notice_(std::move(notice)), groups_(matrix.groups.size()) {
  const stack::Layout& layout = set.layout();
  for (size_t i = 0; i < blocks; ++i) {
    const stack::Block& block = layout.blocks[i];
    if (&layout.matrices[block.matrix] == matrix.layout && block.level <= layout.planes())
      groups_[block.group].blocks.push_back(i);
  }
}

kernels::PlaneRows FixedPlanes::planes(uint32_t group) const {
  const std::lock_guard lock(reading_);
  if (groups_[group].rows.level == 0) read(group, groups_[group]);
  return groups_[group].rows;
}

void FixedPlanes::read(uint32_t number, Group& group) const {
  const stack::Layout& layout = set_.layout();
  const uint32_t rows = matrix_.layout->group_rows(number);
  const size_t scales = round_up(size_t{rows} * sizeof(uint16_t), 64);
  size_t bytes = 0;
  for (const size_t block : group.blocks) bytes += round_up(layout.blocks[block].bytes, 64);
  group.memory = Buffer(bytes);
  // The base is always in memory: what the file has lost since does not matter there.
  group.rows = matrix_.planes(number);
  group.rows.level = 1;
  group.rows.scales = reinterpret_cast<const uint16_t*>(matrix_.groups[number].blocks[0]);
  auto* to = group.memory.as<std::byte>();
  for (size_t level = 0; level < group.blocks.size(); ++level) {
    const size_t size = layout.blocks[group.blocks[level]].bytes;
    try {
      set_.read_block(group.blocks[level], {to, size});
    } catch (const Error& error) {
      if (notice_) notice_(fmt::format("{}; the device does without it", error.what()));
      return;
    }
    group.rows.level = static_cast<uint32_t>(level + 1);
    group.rows.planes[level] = to + scales;
    group.rows.scales = reinterpret_cast<const uint16_t*>(to);
    to += round_up(size, 64);
  }
}

uint64_t FixedPlanes::fingerprint() const {
  const stack::Layout& layout = set_.layout();
  uint64_t hash = XXH3_64bits(layout.tables.data(), layout.tables.size());
  for (const Group& group : groups_) {
    for (const size_t block : group.blocks)
      hash = XXH3_64bits_withSeed(&layout.blocks[block].checksum, sizeof(uint64_t), hash);
  }
  return hash;
}

}  // namespace cairn::offload
