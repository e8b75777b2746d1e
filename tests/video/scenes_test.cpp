#include "video/encode/scenes.hpp"

#include <gtest/gtest.h>

namespace cairn::video {
namespace {

// A slope of luma that moves by `shift`, brighter by `light`.
Frame slope(uint32_t shift, uint32_t light) {
  Frame frame;
  frame.allocate({64, 36, 8, Chroma::none});
  for (uint32_t y = 0; y < 36; ++y) {
    for (uint32_t x = 0; x < 64; ++x)
      frame.planes[0].row(y)[x] = static_cast<uint16_t>((x + shift) % 64 + 2 * y + light);
  }
  return frame;
}

std::vector<uint64_t> scenes_of(const std::vector<Frame>& frames) {
  SceneFinder finder;
  for (const Frame& frame : frames) finder.add(frame);
  return finder.scenes();
}

TEST(Scenes, CutsAreFound) {
  std::vector<Frame> frames;
  for (uint32_t i = 0; i < 60; ++i) frames.push_back(slope(i, i < 20 ? 0 : i < 45 ? 70 : 20));
  EXPECT_EQ(scenes_of(frames), (std::vector<uint64_t>{0, 20, 45}));
}

TEST(Scenes, MotionFadesAndFlashesAreNone) {
  std::vector<Frame> moving, fading, flash;
  for (uint32_t i = 0; i < 60; ++i) {
    moving.push_back(slope(9 * i, 0));
    fading.push_back(slope(0, i));
    flash.push_back(slope(0, i == 30 ? 90 : 0));
  }
  const std::vector<uint64_t> one = {0};
  EXPECT_EQ(scenes_of(moving), one);
  EXPECT_EQ(scenes_of(fading), one);
  EXPECT_EQ(scenes_of(flash), one);
}

TEST(Scenes, ShortOnesBelongToTheSceneBefore) {
  std::vector<Frame> frames;
  for (uint32_t i = 0; i < 60; ++i) frames.push_back(slope(0, i < 30 ? 0 : i < 37 ? 90 : i < 55 ? 40 : 0));
  EXPECT_EQ(scenes_of(frames), (std::vector<uint64_t>{0, 30}));
  EXPECT_EQ(scenes_of({slope(0, 0)}), std::vector<uint64_t>{0});
}

}  // namespace
}  // namespace cairn::video
