// Rows of a stack's matrices. Planes that are rotated as the input is need no rounding: their codes stand for
// int8 values, and they have a scale a row.
#include <algorithm>
#include <cstring>

#include "backends/cpu/planes.hpp"
#include "kernels/kernel_set.hpp"
#include "offload/weights.hpp"

namespace cairn::offload {
namespace {

constexpr uint32_t kTile = kernels::kPlaneRows;

// Threads of a pool come here in every run of a device that takes weights anew: each keeps its memory.
struct Scratch {
  std::vector<int8_t> panel, tile;
  std::vector<float> row;
  std::vector<std::pair<uint32_t, uint32_t>> wanted;
};
Scratch& scratch() {
  static thread_local Scratch mine;
  return mine;
}
template <class T>
T* room(std::vector<T>& memory, size_t count) {
  if (memory.size() < count) memory.resize(count);
  return memory.data();
}

}  // namespace

bool LinearWeights::takes_planes() const {
  return treatment_.divisors.empty() && (rotation_ != nullptr) == (bound_.matrix.rotation != nullptr);
}

const std::byte* LinearWeights::exact(uint32_t group, const FixedPlanes* fixed) const {
  return fixed == nullptr ? cpu::exact_rows(bound_.matrix, group) : nullptr;
}

// W · diag(divisors) · R of one stored row.
void LinearWeights::load_stored(uint32_t stored, float* out, const FixedPlanes* fixed) const {
  const uint32_t each = stack()->layout->rows_per_group, group = stored / each, r = stored % each;
  float* const work = out + k();
  bool rotated = false;
  if (const std::byte* rows = exact(group, fixed)) {
    bound_.matrix.encoding->dequantize(rows + r * bound_.matrix.row_bytes, k(), out);
  } else {
    const kernels::PlaneRows planes = fixed == nullptr ? stack()->planes(group) : fixed->planes(group);
    kernels::kernel_set(plan_.target()).planes.row(planes, r, plan_.set->table(planes.level), k(), out);
    rotated = bound_.matrix.rotation != nullptr;
  }
  if (rotated && takes_planes()) return;
  if (rotated) bound_.matrix.rotation->apply_inverse(out, work);
  for (size_t i = 0; i < treatment_.divisors.size(); ++i) out[i] *= treatment_.divisors[i];
  if (rotation_ != nullptr) rotation_->apply(out, work);
}

// 16 stored rows. takes_planes() alone.
void LinearWeights::fill_tile(uint32_t tile, int8_t* values, float* scales, const FixedPlanes* fixed) const {
  const stack::Matrix& layout = *stack()->layout;
  const uint32_t first = tile * kTile, group = first / layout.rows_per_group;
  if (exact(group, fixed) != nullptr) {
    float* const row = room(scratch().row, row_floats());
    for (uint32_t r = 0; r < kTile; ++r) {
      if (first + r >= layout.rows) {
        std::fill_n(values + size_t{r} * k(), k(), int8_t{0});
        scales[r] = 0;
        continue;
      }
      load_stored(first + r, row, fixed);
      quantize(row, values + size_t{r} * k(), scales + r);
    }
    return;
  }
  const kernels::PlaneRows planes = fixed == nullptr ? stack()->planes(group) : fixed->planes(group);
  const kernels::PlaneKernels& kernels = kernels::kernel_set(plan_.target()).planes;
  const uint32_t at = (first - layout.group_begin(group)) / kTile;
  int8_t* const panel = room(scratch().panel, size_t{kTile} * k());
  int32_t corrections[kTile];
  kernels.fill(planes, at, plan_.set->table(planes.level), k(), panel, corrections);
  // [k / 4][16 rows][4] to rows.
  kernels_.transpose(reinterpret_cast<const uint32_t*>(panel), kTile, k() / 4, kTile,
                     reinterpret_cast<uint32_t*>(values), k() / 4, 0);
  kernels.scales(planes, at, scales);
}

void LinearWeights::fill_from_tiles(uint32_t begin, uint32_t count, int8_t* values, float* scales,
                                    const FixedPlanes* fixed) const {
  auto& wanted = scratch().wanted;  // stored row, row
  room(wanted, count);
  for (uint32_t r = 0; r < count; ++r) wanted[r] = {stack()->stored[bound_.matrix.first_row + begin + r], r};
  std::sort(wanted.begin(), wanted.begin() + count);
  int8_t* const tile = room(scratch().tile, size_t{kTile} * k());
  float tile_scales[kTile];
  uint32_t unpacked = UINT32_MAX;
  for (uint32_t i = 0; i < count; ++i) {
    const auto [stored, r] = wanted[i];
    if (stored / kTile != unpacked) {
      unpacked = stored / kTile;
      fill_tile(unpacked, tile, tile_scales, fixed);
    }
    std::memcpy(values + size_t{r} * k(), tile + size_t{stored % kTile} * k(), k());
    scales[r] = tile_scales[stored % kTile];
  }
}

void LinearWeights::fill_stored(uint32_t begin, uint32_t count, int8_t* values, float* scales) const {
  for (uint32_t i = 0; i < count; i += kTile) {
    if (takes_planes()) {
      fill_tile((begin + i) / kTile, values + size_t{i} * k(), scales + i, nullptr);
      continue;
    }
    float* const row = room(scratch().row, row_floats());
    for (uint32_t r = i; r < i + kTile; ++r) {
      int8_t* const to = values + size_t{r} * k();
      std::fill_n(to, k(), int8_t{0});
      scales[r] = 0;
      if (order_[begin + r] == UINT32_MAX) continue;
      load_stored(begin + r, row, nullptr);
      quantize(row, to, scales + r);
    }
  }
}

}  // namespace cairn::offload
