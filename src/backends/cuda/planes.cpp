#include "backends/cuda/planes.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/buffer.hpp"
#include "kernels/kernel_set.hpp"

namespace cairn::cuda {
namespace {

constexpr uint64_t kAlignment = 256;
constexpr uint64_t kSlabBytes = 8 << 20;  // read at once between two steps

// What R = D · (Q ⊗ H) is made of, from what it does: D of what becomes of the vector that all of Q ⊗ H makes
// of ones, Q of what becomes of each block's first unit vector.
struct RotationParts {
  std::vector<float> signs, mixing;
};
RotationParts parts_of(const quantize::Rotation& rotation, uint32_t block) {
  const uint32_t width = rotation.width(), blocks = width / block;
  std::vector<float> scratch(rotation.scratch_floats());
  RotationParts parts{std::vector<float>(width), std::vector<float>(size_t{blocks} * blocks)};
  parts.signs[0] = std::sqrt(static_cast<float>(width));
  rotation.apply_inverse(parts.signs.data(), scratch.data());
  for (float& sign : parts.signs) sign = std::round(sign);
  for (uint32_t j = 0; j < blocks; ++j) {
    std::vector<float> x(width);
    x[size_t{j} * block] = parts.signs[size_t{j} * block] * std::sqrt(static_cast<float>(block));
    rotation.apply(x.data(), scratch.data());
    for (uint32_t i = 0; i < blocks; ++i) parts.mixing[i * blocks + j] = x[size_t{i} * block];
  }
  return parts;
}

uint64_t scale_bytes(uint32_t rows) {
  return round_up(size_t{rows} * sizeof(uint16_t), 64);
}

}  // namespace

Planes::Planes(const gguf::File& file)
    : file_(file),
      path_(file.path()),
      layout_(stack::read_layout(file)),
      present_blocks_(layout_.blocks_within(layout_.present_bytes)),
      bad_(layout_.blocks.size()) {
  if (layout_.codec != stack::Codec::planes)
    fail(ErrorCode::unsupported, "{}: only stacks of planes run on a GPU", path_);
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) fail(ErrorCode::io, "{}: cannot open: {}", path_, std::strerror(errno));
  make_matrices();
  limit_ = all_bytes();
}

Planes::~Planes() {
  if (descriptor_ >= 0) close(descriptor_);
}

// Also adds up what stays on the device, in the order in which open() puts it there.
void Planes::make_matrices() {
  const auto add = [&](uint64_t bytes) { fixed_bytes_ += round_up(bytes, kAlignment); };
  uint64_t groups = 0;
  for (const stack::Matrix& matrix : layout_.matrices) {
    Matrix& made = matrices_.emplace_back();
    made.groups.resize(matrix.groups());
    made.first_group = groups;
    groups += matrix.groups();
    made.stored.resize(matrix.rows);
    for (uint32_t i = 0; i < matrix.rows; ++i) made.stored[matrix.permutation[i]] = i;
    add(sizeof(CudaPlanes));
    add(round_up(matrix.rows, stack::kTileRows) * sizeof(uint32_t));
    if (!matrix.rotated || !rotations_.try_emplace(matrix.columns, matrix.columns).second) continue;
    const uint64_t blocks = matrix.columns >> std::countr_zero(matrix.columns);
    add(matrix.columns * sizeof(float));
    add(blocks * blocks * sizeof(float));
  }
  add(layout_.tables.size());
  add(groups * sizeof(CudaPlaneGroup));
  described_.resize(groups);
  for (size_t i = 0; i < layout_.blocks.size(); ++i) {
    const stack::Block& block = layout_.blocks[i];
    matrices_[block.matrix].groups[block.group].levels[block.level - 1U].block = i;
  }
}

void Planes::open(const std::shared_ptr<Device>& device) {
  device_ = device;
  fixed_ = Memory(device_, fixed_bytes_);
  uint64_t at = 0;
  const auto place = [&](uint64_t bytes) { return std::exchange(at, at + round_up(bytes, kAlignment)); };
  const auto put = [&](const void* from, uint64_t bytes) {
    const uint64_t to = place(bytes);
    device_->upload(fixed_.data() + to, from, bytes);
    return fixed_.data() + to;
  };
  const auto* tables = reinterpret_cast<const int8_t*>(put(layout_.tables.data(), layout_.tables.size()));
  groups_at_ = place(described_.size() * sizeof(CudaPlaneGroup));
  struct OfWidth {
    const float *signs, *mixing;
  };
  std::map<uint32_t, OfWidth> widths;
  for (size_t i = 0; i < matrices_.size(); ++i) {
    const stack::Matrix& matrix = layout_.matrices[i];
    std::vector<uint32_t> destination(round_up(matrix.rows, stack::kTileRows), UINT32_MAX);
    std::copy(matrix.permutation.begin(), matrix.permutation.end(), destination.begin());
    CudaPlanes planes{};
    planes.groups = fixed_.as<CudaPlaneGroup>(groups_at_) + matrices_[i].first_group;
    planes.tables = tables;
    planes.destination =
        reinterpret_cast<const uint32_t*>(put(destination.data(), destination.size() * sizeof(uint32_t)));
    planes.group_count = matrix.groups();
    planes.rows_per_group = matrix.rows_per_group;
    planes.rows = matrix.rows;
    planes.k = matrix.columns;
    planes.exact = static_cast<uint32_t>(matrix.source);
    StackedMatrix& stacked = stacked_[matrix.name];
    stacked.planes = reinterpret_cast<const CudaPlanes*>(put(&planes, sizeof planes));
    stacked.rows = matrix.rows;
    stacked.k = matrix.columns;
    if (!matrix.rotated) continue;
    stacked.block = 1U << std::countr_zero(matrix.columns);
    const auto [width, added] = widths.try_emplace(matrix.columns);
    if (added) {
      const RotationParts parts = parts_of(rotations_.at(matrix.columns), stacked.block);
      const auto floats = [&](const std::vector<float>& values) {
        return reinterpret_cast<const float*>(put(values.data(), values.size() * sizeof(float)));
      };
      width->second.signs = floats(parts.signs);
      width->second.mixing = parts.mixing.size() == 1 ? nullptr : floats(parts.mixing);
    }
    stacked.signs = width->second.signs;
    stacked.mixing = width->second.mixing;
  }
  while (blocks_ < layout_.base_blocks) {
    const size_t before = blocks_;
    const size_t end =
        std::min(layout_.base_blocks, layout_.blocks_within(layout_.blocks[blocks_].offset + kSlabBytes));
    if (!read_slab(std::max(end, before + 1))) {
      fail(ErrorCode::out_of_memory, "{}: the stack's base of {} bytes does not fit in {}", path_,
           base_bytes(), device_->name());
    }
    for (size_t i = before; i < blocks_; ++i) {
      if (bad_[i]) fail(ErrorCode::format, "{}", problems_.front());
    }
  }
  describe();
}

bool Planes::read_slab(size_t end) {
  const uint64_t begin = layout_.blocks[blocks_].offset, bytes = layout_.end_of(end) - begin;
  Slab slab{.end = end, .memory = {}};
  try {
    slab.memory = Memory(device_, bytes);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_memory) throw;
    return false;
  }
  std::vector<std::byte> staged(bytes);
  for (size_t i = blocks_; i < end; ++i) {
    const stack::Block& block = layout_.blocks[i];
    try {
      stack::read_block(descriptor_, path_, layout_, i,
                        std::span(staged).subspan(block.offset - begin, block.bytes));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::format) throw;
      bad_[i] = true;
      problems_.emplace_back(error.what());
    }
    matrices_[block.matrix].groups[block.group].levels[block.level - 1U].data =
        slab.memory.data() + (block.offset - begin);
  }
  device_->upload(slab.memory.data(), staged.data(), bytes);
  read_ += bytes;
  bytes_ += bytes;
  blocks_ = end;
  slabs_.push_back(std::move(slab));
  count();
  return true;
}

void Planes::drop_slab() {
  const size_t begin = slabs_.size() < 2 ? 0 : slabs_[slabs_.size() - 2].end;
  for (size_t i = begin; i < blocks_; ++i) {
    const stack::Block& block = layout_.blocks[i];
    matrices_[block.matrix].groups[block.group].levels[block.level - 1U].data = nullptr;
  }
  blocks_ = begin;
  count();
}

void Planes::count() {
  for (size_t m = 0; m < matrices_.size(); ++m) {
    const stack::Matrix& matrix = layout_.matrices[m];
    const auto there = [&](const Level& level) { return level.data != nullptr && !bad_[level.block]; };
    for (Group& group : matrices_[m].groups) {
      group.planes = 0;
      while (group.planes < matrix.planes && there(group.levels[group.planes])) ++group.planes;
      group.exact = there(group.levels[matrix.exact() - 1U]);
      group.draft = 1;
      for (uint8_t level = 1; level <= group.planes; ++level) {
        if (group.levels[level - 1U].block < draft_blocks_) group.draft = level;
      }
    }
  }
}

void Planes::describe() {
  for (size_t m = 0; m < matrices_.size(); ++m) {
    const stack::Matrix& matrix = layout_.matrices[m];
    for (uint32_t g = 0; g < matrices_[m].groups.size(); ++g) {
      const Group& group = matrices_[m].groups[g];
      CudaPlaneGroup& told = described_[matrices_[m].first_group + g];
      told = {};
      told.first_row = matrix.group_begin(g);
      told.rows = matrix.group_rows(g);
      told.draft = std::min(group.draft, group.planes);
      told.level = group.exact ? kCudaExact : group.planes;
      for (uint8_t level = 0; level < group.planes; ++level)
        told.planes[level] = group.levels[level].data + scale_bytes(told.rows);
      told.scales = reinterpret_cast<const uint16_t*>(group.levels[group.planes - 1U].data);
      told.draft_scales =
          reinterpret_cast<const uint16_t*>(group.levels[static_cast<size_t>(told.draft) - 1].data);
      if (group.exact) told.exact = group.levels[matrix.exact() - 1U].data;
    }
  }
  device_->upload(fixed_.data() + groups_at_, described_.data(), described_.size() * sizeof described_[0]);
}

void Planes::set_limit(uint64_t bytes) {
  limit_ = std::clamp(bytes, base_bytes(), all_bytes());
}

bool Planes::shrink(uint64_t more) {
  const uint64_t most = limit_ - std::min(limit_, more);
  std::vector<Memory> gone;
  while (!slabs_.empty() && bytes_ > most) {
    const size_t begin = slabs_.size() < 2 ? 0 : slabs_[slabs_.size() - 2].end;
    if (begin < layout_.base_blocks) break;
    drop_slab();
    bytes_ -= slabs_.back().memory.bytes();
    gone.push_back(std::move(slabs_.back().memory));
    slabs_.pop_back();
  }
  if (gone.empty()) return false;
  describe();
  device_->wait();  // nobody reads them any more
  return true;
}

bool Planes::grow() {
  if (blocks_ >= present_blocks_ || bytes_ >= limit_) return false;
  const uint64_t begin = layout_.blocks[blocks_].offset, room = std::min(kSlabBytes, limit_ - bytes_);
  size_t end = std::min(layout_.blocks_within(begin + room), present_blocks_);
  if (end <= blocks_) {  // a block that is larger than a slab
    end = blocks_ + 1;
    if (bytes_ + layout_.end_of(end) - begin > limit_) return false;
  }
  if (!read_slab(end)) return false;
  describe();
  return true;
}

void Planes::set_draft(double bits) {
  size_t blocks = layout_.base_blocks;
  while (blocks < present_blocks_ && layout_.bits(blocks + 1) <= bits) ++blocks;
  if (std::exchange(draft_blocks_, blocks) == blocks) return;
  count();
  describe();
}

void Planes::read_rows(const std::string& name, std::span<const int32_t> rows, float* to) const {
  const auto found = std::find_if(layout_.matrices.begin(), layout_.matrices.end(),
                                  [&](const stack::Matrix& matrix) { return matrix.name == name; });
  const Matrix& matrix = matrices_[static_cast<size_t>(found - layout_.matrices.begin())];
  const quantize::Rotation* rotation = found->rotated ? &rotations_.at(found->columns) : nullptr;
  for (const int32_t row : rows) {
    read_row(*found, matrix, static_cast<uint32_t>(row), to, rotation);
    to += found->columns;
  }
}

void Planes::read_row(const stack::Matrix& matrix, const Matrix& found, uint32_t row, float* to,
                      const quantize::Rotation* rotation) const {
  const uint32_t stored = found.stored[row], g = stored / matrix.rows_per_group;
  const Group& group = found.groups[g];
  const uint32_t r = stored - matrix.group_begin(g), rows = matrix.group_rows(g);
  const kernels::KernelSet& kernels = kernels::kernel_set(kernels::default_target());
  const auto offset = [&](size_t level) { return layout_.blocks[group.levels[level].block].offset; };
  if (group.exact) {
    const EncodingInfo& encoding = info(matrix.source);
    std::vector<std::byte> bytes(size_t{matrix.columns} / encoding.block_elements * encoding.block_bytes);
    pread(bytes, offset(matrix.exact() - 1U) + r * bytes.size());
    kernels.encoding(matrix.source).dequantize(bytes.data(), matrix.columns, to);
    return;
  }
  // The tile that the row is in.
  const uint32_t tile = r / stack::kTileRows;
  const size_t tile_bytes = size_t{matrix.columns} / stack::kTileColumns * kernels::kPlaneBytes;
  std::vector<std::byte> planes(group.planes * tile_bytes);
  std::array<uint16_t, stack::kTileRows> scales{};
  kernels::PlaneRows part{};
  part.level = group.planes;
  part.tiles = 1;
  part.scales = scales.data();
  for (uint8_t level = 0; level < group.planes; ++level) {
    const std::span<std::byte> plane = std::span(planes).subspan(level * tile_bytes, tile_bytes);
    pread(plane, offset(level) + scale_bytes(rows) + tile * tile_bytes);
    part.planes[level] = plane.data();
  }
  const size_t first = size_t{tile} * stack::kTileRows;
  pread(std::as_writable_bytes(std::span(scales).first(std::min<size_t>(stack::kTileRows, rows - first))),
        offset(group.planes - 1U) + first * sizeof(uint16_t));
  const auto table =
      kernels::make_plane_table(part.level, layout_.tables.data() + stack::table_offset(part.level));
  kernels.planes.row(part, r % stack::kTileRows, table, matrix.columns, to);
  if (rotation == nullptr) return;
  std::vector<float> scratch(rotation->scratch_floats());
  rotation->apply_inverse(to, scratch.data());
}

void Planes::pread(std::span<std::byte> to, uint64_t offset) const {
  while (!to.empty()) {
    const ssize_t read = ::pread(descriptor_, to.data(), to.size(), static_cast<off_t>(offset));
    if (read < 0 && errno == EINTR) continue;
    if (read <= 0) {
      fail(ErrorCode::io, "{}: cannot read at byte {}: {}", path_, offset,
           read == 0 ? "the file ends there" : std::strerror(errno));
    }
    to = to.subspan(static_cast<size_t>(read));
    offset += static_cast<uint64_t>(read);
  }
}

}  // namespace cairn::cuda
