#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "video/network.hpp"

namespace cairn::video {

// Frames of the decoded small video with what they should become. All of one size and depth.
struct TrainingFrame {
  // Small planes: this frame, the one before, the one after (as many as networks shall see).
  std::vector<std::vector<uint16_t>> small;
  std::vector<uint16_t> original;  // [height · scale][width · scale]
};

struct TrainingSet {
  uint32_t width = 0, height = 0;  // of the small planes
  uint32_t scale = 1, peak = 255;
  std::vector<TrainingFrame> frames;

  // Patches of patch_width × patch_height small pixels (the last of a row or column may be smaller), row by
  // row; one chunk's number for each patch of each frame. Empty: all is one chunk.
  uint32_t patch_width = 0, patch_height = 0;
  std::vector<std::vector<uint8_t>> labels;  // [frame][patch]
  uint32_t columns() const { return (width + patch_width - 1) / patch_width; }
  uint32_t rows() const { return (height + patch_height - 1) / patch_height; }
};

// Which patches are trained on, when there are labels.
struct Sampling {
  // [chunk] the share of its patches that are: 1 all, 0 none. Those left out are drawn by the seed.
  std::vector<float> shares;
  bool only_these = true;  // errors of other patches inside a crop don't count
};

// Where a crop's top left corner is.
struct CropPlace {
  uint32_t frame, y, x;
};

// Draws crops whose centres are spread evenly over the chosen patches. Side `side` small pixels, less where
// the frame is smaller (width and height are then the frame's). Deterministic for a seed and a count of
// draws.
class CropSampler {
 public:
  // Error invalid_argument when no patch has a chosen label.
  CropSampler(const TrainingSet& set, Sampling sampling, uint32_t side, uint64_t seed);
  CropPlace draw();
  uint32_t crop_width() const { return crop_width_; }
  uint32_t crop_height() const { return crop_height_; }
  // Whether the small pixel's error counts.
  bool counts(uint32_t frame, uint32_t y, uint32_t x) const;
  bool all_count() const { return set_.labels.empty() || !sampling_.only_these; }

 private:
  uint32_t below(uint32_t bound);

  struct Patch {
    uint32_t frame, index;
  };
  const TrainingSet& set_;
  Sampling sampling_;
  uint32_t crop_width_, crop_height_;
  std::vector<Patch> patches_;
  std::mt19937_64 random_;
};

}  // namespace cairn::video
