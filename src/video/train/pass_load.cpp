// CropPass's inputs: crops of the decoded video, and what the bicubic lacks of the original there.
#include <algorithm>

#include "base/error.hpp"
#include "video/train/pass.hpp"

namespace cairn::video {

void CropPass::cut(const PlaneView& plane, float to_unit, int64_t top, int64_t left, uint32_t around,
                   float offset, float* to, size_t stride) const {
  const int64_t margin = around, rows = height_ + 2 * margin, columns = width_ + 2 * margin;
  for (int64_t y = 0; y < rows; ++y, to += stride) {
    const int64_t row = std::clamp<int64_t>(top + y - margin, 0, plane.height - 1);
    const uint16_t* from = plane.samples + static_cast<size_t>(row) * plane.stride;
    const auto sample = [&](int64_t x) {
      const auto column = static_cast<size_t>(std::clamp<int64_t>(left + x - margin, 0, plane.width - 1));
      return static_cast<float>(from[column]) * to_unit - offset;
    };
    const int64_t first = std::clamp<int64_t>(margin - left, 0, columns),
                  last = std::clamp<int64_t>(plane.width + margin - left, first, columns);
    for (int64_t x = 0; x < first; ++x) to[x] = sample(x);
    for (int64_t x = first; x < last; ++x)
      to[x] = static_cast<float>(from[left + x - margin]) * to_unit - offset;
    for (int64_t x = last; x < columns; ++x) to[x] = sample(x);
  }
}

// target = -bicubic
void CropPass::apply_bicubic() {
  const uint32_t phases = network_.scale * network_.scale;
  const std::vector<float> nothing(phases, 0.0f);
  kernels_.convolve({1, phases, kSkipSide, height_, width_}, small_.view, bicubic_.data(), nothing.data(),
                    target_.view);
}

// The bicubic of the crop and of margin_ upscaled pixels around it, less 0.5: channel c of the head's input.
void CropPass::upscale(const PlaneView& plane, float to_unit, int64_t top, int64_t left, uint32_t c) {
  const uint32_t scale = network_.scale, phases = scale * scale, around = (margin_ + scale - 1) / scale;
  const size_t rows = height_ + 2 * around, columns = width_ + 2 * around;
  if (surroundings_.channels == 0) {
    surroundings_ = make_planes(1, rows + kSkipSide - 1, columns + kSkipSide - 1, 0);
    upscaled_ = make_planes(phases, rows, columns, 0);
  }
  cut(plane, to_unit, top, left, around + kSkipSide / 2, 0.0f, surroundings_.view.data,
      surroundings_.view.stride);
  const std::vector<float> nothing(phases, 0.0f);
  kernels_.convolve({1, phases, kSkipSide, rows, columns}, surroundings_.view, bicubic_.data(),
                    nothing.data(), upscaled_.view);
  const size_t skipped = around * scale - margin_;  // upscaled pixels that are one small pixel's and too many
  for (size_t y = 0; y < head_.rows; ++y) {
    float* to = head_.view.data + c * head_.view.plane + y * head_.view.stride;
    const size_t from_y = y + skipped;
    for (size_t x = 0; x < head_.columns; ++x) {
      const size_t from_x = x + skipped, phase = from_y % scale * scale + from_x % scale;
      const float value =
          -upscaled_.view
               .data[phase * upscaled_.view.plane + from_y / scale * upscaled_.view.stride + from_x / scale];
      to[x] = std::clamp(value, 0.0f, 1.0f) - 0.5f;
    }
  }
}

void CropPass::load(std::span<const PlaneView> small, uint32_t peak, int64_t y, int64_t x) {
  const float to_unit = 1.0f / static_cast<float>(peak);
  cut(small[0], to_unit, y, x, kSkipSide / 2, 0.0f, small_.view.data, small_.view.stride);
  for (uint32_t c = 0; c < (network_.layers.empty() ? 0 : network_.frames); ++c) {
    if (network_.on_upscaled) {
      upscale(small[c], to_unit, y, x, c);
      continue;
    }
    cut(small[c], to_unit, y, x, margin_, 0.5f, head_.view.data + c * head_.view.plane, head_.view.stride);
  }
  apply_bicubic();
}

void CropPass::load(const TrainingSet& set, const CropSampler& sampler, const CropPlace& place) {
  const TrainingFrame& frame = set.frames[place.frame];
  std::vector<PlaneView> small;
  for (const std::vector<uint16_t>& plane : frame.small)
    small.push_back({plane.data(), set.width, set.height, set.width});
  if (small.size() < network_.frames) {
    fail(ErrorCode::invalid_argument, "a network that sees {} frames is trained on {}", network_.frames,
         small.size());
  }
  load(small, set.peak, place.y, place.x);
  const float to_unit = 1.0f / static_cast<float>(set.peak);
  const uint32_t scale = network_.scale, phases = scale * scale;
  const size_t wide = static_cast<size_t>(set.width) * scale;
  for (uint32_t p = 0; p < phases; ++p) {
    for (size_t y = 0; y < height_; ++y) {
      float* to = target_.view.data + p * target_.view.plane + y * target_.view.stride;
      const uint16_t* from = frame.original.data() + ((place.y + y) * scale + p / scale) * wide +
                             static_cast<size_t>(place.x) * scale + p % scale;
      for (size_t x = 0; x < width_; ++x) to[x] = static_cast<float>(from[x * scale]) * to_unit + to[x];
    }
  }
  if (sampler.all_count()) return;
  if (counts_.channels == 0) counts_ = make_planes(1, height_, width_, 0);
  for (uint32_t y = 0; y < height_; ++y) {
    for (uint32_t x = 0; x < width_; ++x)
      counts_.view.data[y * counts_.view.stride + x] =
          sampler.counts(place.frame, place.y + y, place.x + x) ? 1.0f : 0.0f;
  }
}

}  // namespace cairn::video
