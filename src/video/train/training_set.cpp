#include "video/train/training_set.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace cairn::video {

CropSampler::CropSampler(const TrainingSet& set, Sampling sampling, uint32_t side, uint64_t seed)
    : set_(set),
      sampling_(std::move(sampling)),
      crop_width_(std::min(side, set.width)),
      crop_height_(std::min(side, set.height)),
      random_(seed) {
  if (set.frames.empty()) fail(ErrorCode::invalid_argument, "no frames to train on");
  if (set.labels.empty()) return;
  sampling_.shares.resize(256, 0.0f);
  for (uint32_t f = 0; f < set.labels.size(); ++f) {
    for (uint32_t p = 0; p < set.labels[f].size(); ++p) {
      const float share = sampling_.shares[set.labels[f][p]];
      if (share > 0 && static_cast<float>(below(1u << 16)) < share * 65536) patches_.push_back({f, p});
    }
  }
  if (patches_.empty()) fail(ErrorCode::invalid_argument, "no patch of the chosen chunks to train on");
}

// Lemire's multiplication (ACM TOMACS 29(1), 2019), its bias of 2⁻⁴⁰ and less left in: the same on every
// machine.
uint32_t CropSampler::below(uint32_t bound) {
  return static_cast<uint32_t>((random_() >> 32) * bound >> 32);
}

CropPlace CropSampler::draw() {
  if (patches_.empty()) {
    const uint32_t frame = below(static_cast<uint32_t>(set_.frames.size()));
    const uint32_t y = below(set_.height - crop_height_ + 1);
    return {frame, y, below(set_.width - crop_width_ + 1)};
  }
  const Patch patch = patches_[below(static_cast<uint32_t>(patches_.size()))];
  const uint32_t top = patch.index / set_.columns() * set_.patch_height,
                 left = patch.index % set_.columns() * set_.patch_width;
  const uint32_t y = top + below(set_.patch_height), x = left + below(set_.patch_width);
  const auto place = [](uint32_t centre, uint32_t crop, uint32_t whole) {
    return std::min(centre - std::min(centre, crop / 2), whole - crop);
  };
  return {patch.frame, place(y, crop_height_, set_.height), place(x, crop_width_, set_.width)};
}

bool CropSampler::counts(uint32_t frame, uint32_t y, uint32_t x) const {
  if (set_.labels.empty()) return true;
  const uint32_t patch = y / set_.patch_height * set_.columns() + x / set_.patch_width;
  return sampling_.shares[set_.labels[frame][patch]] > 0;
}

}  // namespace cairn::video
