#include "stack/moments.hpp"

#include <algorithm>
#include <cmath>

#include "base/interruptible.hpp"
#include "kernels/encode.hpp"
#include "kernels/kernel_set.hpp"

namespace cairn::stack {
namespace {

constexpr size_t kStrip = kernels::kStripRows;
constexpr size_t kDepth = 128;  // tokens of a product: what of them is in cache

// Floats of the strips before this one, if all are whole.
constexpr size_t offset_of(size_t strip) {
  return kStrip * kStrip * strip * (strip + 1) / 2;
}
size_t floats_of(size_t width) {
  const size_t whole = width / kStrip;
  return offset_of(whole) + (width % kStrip == 0 ? 0 : kStrip * width);
}

}  // namespace

MomentCollector::MomentCollector(uint32_t first_layer, uint32_t layers,
                                 const std::array<uint32_t, quantize::kInputs>& widths, ThreadPool& pool)
    : first_(first_layer),
      layers_(layers),
      widths_(widths),
      pool_(pool),
      sums_(size_t{layers} * quantize::kInputs),
      scratch_(pool.threads()) {
  for (const uint32_t width : widths) rotations_.emplace_back(std::max(width, 1u));
  for (size_t i = 0; i < sums_.size(); ++i)
    sums_[i].upper.assign(floats_of(widths[i % quantize::kInputs]), 0.0f);
}

uint64_t MomentCollector::bytes(const std::array<uint32_t, quantize::kInputs>& widths) {
  uint64_t sum = 0;
  for (const uint64_t width : widths) sum += floats_of(width) * sizeof(float);
  return sum;
}

void MomentCollector::add(uint32_t layer, quantize::Input input, const float* rows, size_t tokens) {
  const size_t index = static_cast<size_t>(input), width = widths_[index];
  if (layer < first_ || layer - first_ >= layers_ || width == 0) return;
  Sum& sum = sums_[(layer - first_) * quantize::kInputs + index];
  if (rotated_.rows() != tokens || rotated_.columns() != width) rotated_ = Panels(tokens, width);
  const quantize::Rotation& rotation = rotations_[index];
  for (std::vector<float>& scratch : scratch_)
    scratch.resize(std::max(width + rotation.scratch_floats(), tokens * kStrip));
  run_interruptible(pool_, tokens, [&](size_t thread, size_t t) {
    float* row = std::copy_n(rows + t * width, width, scratch_[thread].data()) - width;
    rotation.apply(row, row + width);
    for (size_t i = 0; i < width; ++i) rotated_.at(t, i) = row[i];
  });
  const size_t strips = (width + kStrip - 1) / kStrip;
  const auto& kernels = kernels::kernel_set(kernels::default_target()).encode;
  run_interruptible(pool_, strips, [&](size_t thread, size_t task) {
    const size_t strip = strips - 1 - task, begin = strip * kStrip;  // the longest first
    const size_t end = std::min(begin + kStrip, width);
    float* columns = scratch_[thread].data();
    std::fill_n(columns, tokens * kStrip, 0.0f);
    for (size_t t = 0; t < tokens; ++t) {
      for (size_t i = begin; i < end; ++i) columns[t * kStrip + i - begin] = rotated_.at(t, i);
    }
    for (size_t t = 0; t < tokens; t += kDepth) {
      rotated_.multiply_add(kernels, 0, end, t, std::min(tokens, t + kDepth), columns + t * kStrip,
                            sum.upper.data() + offset_of(strip));
    }
  });
  sum.tokens += tokens;
}

std::vector<float> MomentCollector::get(uint32_t layer, quantize::Input input) const {
  const size_t index = static_cast<size_t>(input), width = widths_[index];
  const Sum& sum = sums_[(layer - first_) * quantize::kInputs + index];
  std::vector<float> moments(width * width);
  const float share = 1 / static_cast<float>(std::max<uint64_t>(sum.tokens, 1));
  run_interruptible(pool_, (width + kStrip - 1) / kStrip, [&](size_t, size_t strip) {
    const size_t begin = strip * kStrip, end = std::min(begin + kStrip, width);
    const float* row = sum.upper.data() + offset_of(strip);
    for (size_t i = 0; i < end; ++i, row += kStrip) {
      for (size_t j = std::max(i, begin); j < end; ++j)
        moments[i * width + j] = moments[j * width + i] = row[j - begin] * share;
    }
  });
  return moments;
}

std::span<const float> MomentCollector::sums(uint32_t layer, quantize::Input input) const {
  return sums_[index(layer, input)].upper;
}

uint64_t MomentCollector::tokens(uint32_t layer, quantize::Input input) const {
  return sums_[index(layer, input)].tokens;
}

void MomentCollector::add_sums(uint32_t layer, quantize::Input input, std::span<const float> sums,
                               uint64_t tokens) {
  Sum& sum = sums_[index(layer, input)];
  for (size_t i = 0; i < sum.upper.size(); ++i) sum.upper[i] += sums[i];
  sum.tokens += tokens;
}

std::vector<float> MomentCollector::take(uint32_t layer, quantize::Input input) {
  std::vector<float> moments = get(layer, input);
  sums_[(layer - first_) * quantize::kInputs + static_cast<size_t>(input)].upper = {};
  return moments;
}

ChannelCollector::ChannelCollector(size_t layers, const std::array<uint32_t, quantize::kInputs>& widths)
    : sums_(layers * quantize::kInputs), tokens_(layers * quantize::kInputs) {
  for (size_t i = 0; i < sums_.size(); ++i) sums_[i].resize(widths[i % quantize::kInputs]);
}

void ChannelCollector::add(uint32_t layer, quantize::Input input, const float* rows, size_t tokens) {
  const size_t index = layer * quantize::kInputs + static_cast<size_t>(input);
  std::vector<double>& sums = sums_[index];
  for (size_t t = 0; t < tokens; ++t) {
    for (size_t i = 0; i < sums.size(); ++i) {
      const auto x = static_cast<double>(rows[t * sums.size() + i]);
      sums[i] += x * x;
    }
  }
  tokens_[index] += tokens;
}

double ChannelCollector::mean(uint32_t layer, quantize::Input input) const {
  const size_t index = layer * quantize::kInputs + static_cast<size_t>(input);
  double mean = 0;
  for (const double sum : sums_[index]) mean += std::sqrt(sum / static_cast<double>(tokens_[index]));
  return mean / static_cast<double>(sums_[index].size());
}

std::vector<float> ChannelCollector::scales(uint32_t layer, quantize::Input input) const {
  const size_t index = layer * quantize::kInputs + static_cast<size_t>(input);
  const double unit = std::max(mean(layer, input), 1e-30);
  std::vector<float> scales;
  for (const double sum : sums_[index]) {
    const double deviation = std::sqrt(sum / static_cast<double>(tokens_[index]));
    scales.push_back(static_cast<float>(std::max(deviation / unit, 1e-3)));
  }
  return scales;
}

}  // namespace cairn::stack
