#include "video/encode/scenes.hpp"

#include <algorithm>
#include <cmath>

namespace cairn::video {
namespace {

constexpr uint32_t kColumns = 32, kRows = 18;
constexpr uint64_t kShortest = 12;  // frames
// Of the peak, and of the largest change among the neighbours: a cut is above both.
constexpr float kLeastChange = 0.03f, kLeastRatio = 2.5f;
constexpr uint64_t kNeighbours = 4;

std::vector<float> coarse(const Frame& frame) {
  const Plane& luma = frame.planes[0];
  std::vector<float> grid;
  for (uint32_t r = 0; r < kRows; ++r) {
    for (uint32_t c = 0; c < kColumns; ++c) {
      const uint32_t top = r * luma.height / kRows, left = c * luma.width / kColumns;
      const uint32_t bottom = std::max((r + 1) * luma.height / kRows, top + 1),
                     right = std::max((c + 1) * luma.width / kColumns, left + 1);
      uint64_t sum = 0;
      for (uint32_t y = top; y < bottom; ++y) {
        for (uint32_t x = left; x < right; ++x) sum += luma.row(y)[x];
      }
      grid.push_back(static_cast<float>(sum) / static_cast<float>((bottom - top) * (right - left)) /
                     static_cast<float>(frame.format.peak()));
    }
  }
  return grid;
}

}  // namespace

void SceneFinder::add(const Frame& frame) {
  std::vector<float> grid = coarse(frame);
  float sum = 0;
  for (size_t i = 0; i < grid_.size(); ++i) sum += std::abs(grid[i] - grid_[i]);
  changes_.push_back(sum / static_cast<float>(grid.size()));
  grid_ = std::move(grid);
}

std::vector<uint64_t> SceneFinder::scenes() const {
  std::vector<uint64_t> scenes = {0};
  for (uint64_t f = 1; f < changes_.size(); ++f) {
    if (changes_[f] < kLeastChange) continue;
    float around = 0;
    const uint64_t from = f - std::min(f - 1, kNeighbours),
                   to = std::min(f + kNeighbours, changes_.size() - 1);
    for (uint64_t n = from; n <= to; ++n) {
      if (n != f) around = std::max(around, changes_[n]);
    }
    if (changes_[f] < kLeastRatio * around) continue;
    if (f - scenes.back() >= kShortest && changes_.size() - f >= kShortest) scenes.push_back(f);
  }
  return scenes;
}

}  // namespace cairn::video
