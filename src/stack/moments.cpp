#include "stack/moments.hpp"

#include <algorithm>
#include <cmath>

#include "base/interruptible.hpp"
#include "kernels/encode.hpp"
#include "kernels/kernel_set.hpp"

namespace cairn::stack {
namespace {

constexpr size_t kStrip = kernels::kStripRows;

size_t stride_of(size_t width) {
  return (width + kStrip - 1) / kStrip * kStrip;
}

}  // namespace

MomentCollector::MomentCollector(uint32_t first_layer, uint32_t layers,
                                 const std::array<uint32_t, quantize::kInputs>& widths, ThreadPool& pool)
    : first_(first_layer),
      layers_(layers),
      widths_(widths),
      pool_(pool),
      sums_(size_t{layers} * quantize::kInputs),
      strips_(pool.threads()) {
  for (const uint32_t width : widths) rotations_.emplace_back(std::max(width, 1u));
  for (size_t i = 0; i < sums_.size(); ++i) {
    const size_t width = widths[i % quantize::kInputs];
    sums_[i].upper.assign(width * stride_of(width), 0.0f);
  }
}

uint64_t MomentCollector::bytes(const std::array<uint32_t, quantize::kInputs>& widths) {
  uint64_t sum = 0;
  for (const uint64_t width : widths) sum += width * stride_of(width) * sizeof(float);
  return sum;
}

void MomentCollector::add(uint32_t layer, quantize::Input input, const float* rows, size_t tokens) {
  const size_t index = static_cast<size_t>(input), width = widths_[index];
  if (layer < first_ || layer - first_ >= layers_ || width == 0) return;
  Sum& sum = sums_[(layer - first_) * quantize::kInputs + index];
  rotated_.assign(rows, rows + tokens * width);
  for (std::vector<float>& strip : strips_)
    strip.resize(std::max(strip.size(), rotations_[index].scratch_floats()));
  run_interruptible(pool_, tokens, [&](size_t thread, size_t t) {
    rotations_[index].apply(rotated_.data() + t * width, strips_[thread].data());
  });
  const size_t stride = stride_of(width), strips = stride / kStrip;
  const auto& kernels = kernels::kernel_set(kernels::default_target()).encode;
  for (std::vector<float>& strip : strips_) strip.resize(tokens * kStrip);
  run_interruptible(pool_, strips, [&](size_t thread, size_t task) {
    const size_t strip = strips - 1 - task, begin = strip * kStrip;  // the longest first
    const size_t count = std::min(kStrip, width - begin);
    std::vector<float>& columns = strips_[thread];
    std::fill(columns.begin(), columns.end(), 0.0f);
    for (size_t t = 0; t < tokens; ++t)
      std::copy_n(rotated_.data() + t * width + begin, count, columns.data() + t * kStrip);
    kernels.multiply_add(begin + count, tokens, 1.0f, rotated_.data(), width, columns.data(), kStrip,
                         sum.upper.data() + begin, stride);
  });
  sum.tokens += tokens;
}

std::vector<float> MomentCollector::get(uint32_t layer, quantize::Input input) const {
  const size_t index = static_cast<size_t>(input), width = widths_[index], stride = stride_of(width);
  const Sum& sum = sums_[(layer - first_) * quantize::kInputs + index];
  std::vector<float> moments(width * width);
  const float share = 1 / static_cast<float>(std::max<uint64_t>(sum.tokens, 1));
  for (size_t i = 0; i < width; ++i) {
    for (size_t j = i; j < width; ++j) {
      moments[i * width + j] = moments[j * width + i] = sum.upper[i * stride + j] * share;
    }
  }
  return moments;
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
