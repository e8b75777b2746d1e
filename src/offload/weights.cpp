#include "offload/weights.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/vector.hpp"

namespace cairn::offload {
namespace {

// Channels of a row beyond which unpacking the whole row is cheaper than its blocks one by one.
constexpr size_t kWholeRow = 8;

}  // namespace

LinearWeights::LinearWeights(const cpu::Plan& plan, const cpu::BoundOp& bound,
                             const quantize::Treatment& treatment, quantize::WeightScale scale,
                             const quantize::Rotation* rotation, const kernels::StaticKernels& kernels)
    : plan_(plan), bound_(bound), treatment_(treatment), rotation_(rotation), kernels_(kernels) {
  if (stack() != nullptr) {
    if (scale == quantize::WeightScale::tensor && !treatment.float_product) {
      fail(ErrorCode::invalid_argument, "{}: {}: a stack's rows have scales of their own, not one a tensor",
           plan.path(), name());
    }
    for (const uint32_t row : stack()->destination) {
      const size_t own = row - size_t{bound_.matrix.first_row};  // rows before it wrap around
      order_.push_back(own < rows() ? static_cast<uint32_t>(own) : UINT32_MAX);
    }
    return;
  }
  if (scale == quantize::WeightScale::row || treatment.float_product) return;
  std::vector<float> row(row_floats());
  for (uint32_t r = 0; r < rows(); ++r) {
    load(r, row.data());
    tensor_largest_ = std::max(tensor_largest_, kernels_.largest(row.data(), k()));
  }
}

void LinearWeights::load(uint32_t row, float* out, const FixedPlanes* fixed) const {
  if (stack() != nullptr) return load_stored(stack()->stored[bound_.matrix.first_row + row], out, fixed);
  bound_.matrix.encoding->dequantize(bound_.matrix.row(row), k(), out);
  for (size_t i = 0; i < treatment_.divisors.size(); ++i) out[i] *= treatment_.divisors[i];
  if (rotation_ != nullptr) rotation_->apply(out, out + k());
}

size_t LinearWeights::row_floats() const {
  size_t scratch = rotation_ == nullptr ? 0 : rotation_->scratch_floats();
  if (stack() != nullptr) scratch = std::max(scratch, plan_.rotation_scratch());
  return k() + scratch;
}

void LinearWeights::quantize(const float* row, int8_t* values, float* scale) const {
  const float largest = tensor_largest_ > 0 ? tensor_largest_ : kernels_.largest(row, k());
  kernels_.quantize_row(row, k(), largest, values);
  *scale = largest / 127;
}

void LinearWeights::fill(uint32_t begin, uint32_t count, int8_t* values, float* scales,
                         const FixedPlanes* fixed) const {
  if (stack() != nullptr && takes_planes()) return fill_from_tiles(begin, count, values, scales, fixed);
  // Threads of a pool come here in every pass of a device that keeps no weights.
  static thread_local std::vector<float> row;
  row.resize(std::max(row.size(), row_floats()));
  for (uint32_t r = 0; r < count; ++r) {
    load(begin + r, row.data(), fixed);
    quantize(row.data(), values + size_t{r} * k(), scales + r);
  }
}

uint64_t LinearWeights::gather(std::span<const uint32_t> channels, float* columns) const {
  const cpu::Matrix& matrix = bound_.matrix;
  std::vector<float> row(row_floats());
  if (rotation_ != nullptr || stack() != nullptr || channels.size() >= k() / kWholeRow) {
    for (uint32_t r = 0; r < rows(); ++r) {
      load(r, row.data());
      for (size_t c = 0; c < channels.size(); ++c) columns[c * rows() + r] = row[channels[c]];
    }
    return stack() != nullptr ? 0 : matrix.row_bytes * rows();
  }
  const size_t block = matrix.block_elements, block_bytes = matrix.row_bytes / (k() / block);
  uint64_t read = 0;
  for (uint32_t r = 0; r < rows(); ++r) {
    size_t unpacked = k();  // none
    for (size_t c = 0; c < channels.size(); ++c) {
      const size_t at = channels[c] / block;
      if (at != unpacked) {
        matrix.encoding->dequantize(matrix.row(r) + at * block_bytes, block, row.data());
        unpacked = at;
        read += block_bytes;
      }
      const float divisor = treatment_.divisors.empty() ? 1.0f : treatment_.divisors[channels[c]];
      columns[c * rows() + r] = row[channels[c] % block] * divisor;
    }
  }
  return read;
}

uint64_t LinearWeights::fingerprint(const FixedPlanes* fixed) const {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  const auto add = [&](const void* data, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i)
      hash = (hash ^ static_cast<const unsigned char*>(data)[i]) * 0x100000001b3;
  };
  add(name().data(), name().size());
  const uint64_t shape[] = {rows(), k(), bound_.op.row_begin, bound_.matrix.row_bytes};
  add(shape, sizeof(shape));
  if (stack() != nullptr) {
    const uint64_t planes[] = {bound_.matrix.first_row, fixed == nullptr ? 0 : fixed->fingerprint()};
    add(planes, sizeof(planes));
    return hash;
  }
  const uint32_t step = std::max(1u, rows() / 16);
  for (uint32_t r = 0; r < rows(); r += step) add(bound_.matrix.row(r), bound_.matrix.row_bytes);
  return hash;
}

ShadowColumns::ShadowColumns(std::span<const LinearWeights> linears, std::span<const uint32_t> hot)
    : linears_(linears), hot_(hot.begin(), hot.end()) {
  for (const LinearWeights& linear : linears_) rows_ += linear.rows();
  halves_.resize(hot_.size() * rows_);
  const kernels::AttentionKernels& kernels = kernels::kernel_set(kernels::default_target()).attention;
  uint32_t begin = 0;
  std::vector<float> columns;
  for (const LinearWeights& linear : linears_) {
    columns.resize(hot_.size() * linear.rows());
    if (!hot_.empty()) linear.gather(hot_, columns.data());
    for (size_t c = 0; c < hot_.size(); ++c) {
      kernels.store_row(kernels::KvFormat::f16, columns.data() + c * linear.rows(), linear.rows(),
                        halves_.data() + c * rows_ + begin, nullptr);
    }
    begin += linear.rows();
  }
}

ShadowColumns::Counts ShadowColumns::load(std::span<const uint32_t> channels, float* columns) const {
  Counts counts;
  std::vector<uint32_t> cold, cold_at;
  const kernels::EncodingKernels& half =
      kernels::kernel_set(kernels::default_target()).encoding(Encoding::f16);
  for (size_t c = 0; c < channels.size(); ++c) {
    const auto found = std::lower_bound(hot_.begin(), hot_.end(), channels[c]);
    if (found == hot_.end() || *found != channels[c]) {
      cold.push_back(channels[c]);
      cold_at.push_back(static_cast<uint32_t>(c));
      continue;
    }
    const uint16_t* from = halves_.data() + static_cast<size_t>(found - hot_.begin()) * rows_;
    half.dequantize(from, rows_, columns + c * rows_);
    ++counts.hot;
  }
  if (cold.empty()) return counts;
  counts.cold = cold.size();
  uint32_t begin = 0;
  std::vector<float> part;
  for (const LinearWeights& linear : linears_) {
    part.resize(cold.size() * linear.rows());
    counts.cold_bytes += linear.gather(cold, part.data());
    for (size_t c = 0; c < cold.size(); ++c) {
      std::copy_n(part.data() + c * linear.rows(), linear.rows(),
                  columns + size_t{cold_at[c]} * rows_ + begin);
    }
    begin += linear.rows();
  }
  return counts;
}

}  // namespace cairn::offload
