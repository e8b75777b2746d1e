#include "video/metrics.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <string>

#include "video/random_network.hpp"

namespace cairn::video {
namespace {

TEST(Metrics, PsnrOfAKnownError) {
  Plane a, b;
  a.resize(10, 10);
  b.resize(10, 10);
  std::fill(a.samples.begin(), a.samples.end(), 100);
  std::fill(b.samples.begin(), b.samples.end(), 102);
  EXPECT_EQ(squared_error(a, b), 400);
  EXPECT_NEAR(psnr(4, 255), 42.1102, 1e-3);
  EXPECT_EQ(psnr(0, 255), 100);
}

// SSIM by its definition, window by window, in double precision.
double plain_ssim(const Plane& a, const Plane& b, double peak) {
  double window[11][11], total = 0;
  for (int j = 0; j < 11; ++j) {
    for (int i = 0; i < 11; ++i)
      total += window[j][i] = std::exp(-((i - 5) * (i - 5) + (j - 5) * (j - 5)) / 4.5);
  }
  const double c1 = 1e-4 * peak * peak, c2 = 9e-4 * peak * peak;
  double sum = 0;
  int windows = 0;
  for (uint32_t y = 0; y + 11 <= a.height; ++y) {
    for (uint32_t x = 0; x + 11 <= a.width; ++x) {
      double ma = 0, mb = 0, aa = 0, bb = 0, ab = 0;
      for (uint32_t j = 0; j < 11; ++j) {
        for (uint32_t i = 0; i < 11; ++i) {
          const double w = window[j][i] / total, va = a.row(y + j)[x + i], vb = b.row(y + j)[x + i];
          ma += w * va;
          mb += w * vb;
          aa += w * va * va;
          bb += w * vb * vb;
          ab += w * va * vb;
        }
      }
      sum += (2 * ma * mb + c1) * (2 * (ab - ma * mb) + c2) /
             ((ma * ma + mb * mb + c1) * (aa - ma * ma + bb - mb * mb + c2));
      ++windows;
    }
  }
  return sum / windows;
}

TEST(Metrics, SsimFollowsTheDefinition) {
  ThreadPool pool(2);
  const Frame a = random_frame({61, 43, 8, Chroma::none}, 1), b = random_frame({61, 43, 8, Chroma::none}, 2);
  Plane near = a.planes[0];
  for (size_t i = 0; i < near.samples.size(); i += 3)
    near.samples[i] = static_cast<uint16_t>(near.samples[i] * 9 / 10);
  for (const Plane* other : {&b.planes[0], static_cast<const Plane*>(&near)}) {
    const Similarity s = similarity(a.planes[0], *other, 255, &pool);
    EXPECT_NEAR(s.ssim, plain_ssim(a.planes[0], *other, 255), 2e-4);
  }
  const Similarity same = similarity(a.planes[0], a.planes[0], 255, nullptr);
  EXPECT_NEAR(same.ssim, 1, 1e-6);
  EXPECT_NEAR(same.ms_ssim, 1, 1e-6);
  // Damage that the coarser scales do not see weighs less.
  const Similarity damaged = similarity(a.planes[0], near, 255, nullptr);
  EXPECT_GT(damaged.ms_ssim, damaged.ssim);
  EXPECT_LT(damaged.ms_ssim, 1);
}

TEST(Metrics, SmallFramesHaveAScore) {
  const Frame a = random_frame({3, 2, 8, Chroma::none}, 1);
  EXPECT_NEAR(similarity(a.planes[0], a.planes[0], 255, nullptr).ms_ssim, 1, 1e-6);
}

TEST(Metrics, PatchesAddUp) {
  const Frame a = random_frame({50, 33, 8, Chroma::none}, 1), b = random_frame({50, 33, 8, Chroma::none}, 2);
  const std::vector<double> patches = patch_errors(a.planes[0], b.planes[0], 16);
  EXPECT_EQ(patches.size(), 12u);
  double sum = 0;
  for (const double p : patches) sum += p;
  EXPECT_EQ(sum, squared_error(a.planes[0], b.planes[0]));
}

// Known colours, by BT.709's and BT.601's equations.
TEST(Picture, RespectsMatrixAndRange) {
  Frame frame;
  frame.allocate({16, 16, 8, Chroma::c444});
  const auto fill = [&](uint16_t y, uint16_t u, uint16_t v) {
    std::fill(frame.planes[0].samples.begin(), frame.planes[0].samples.end(), y);
    std::fill(frame.planes[1].samples.begin(), frame.planes[1].samples.end(), u);
    std::fill(frame.planes[2].samples.begin(), frame.planes[2].samples.end(), v);
  };
  const auto pixel = [&](const Colour& colour) {
    Picture picture;
    RgbConverter(frame.format, colour).convert(frame, picture);
    return std::array<int, 3>{picture.rgb[24], picture.rgb[25], picture.rgb[26]};
  };
  const auto near = [](const std::array<int, 3>& got, int r, int g, int b) {
    return std::abs(got[0] - r) <= 2 && std::abs(got[1] - g) <= 2 && std::abs(got[2] - b) <= 2;
  };
  fill(235, 128, 128);
  EXPECT_TRUE(near(pixel({1, 1, 1, 1, 0}), 255, 255, 255));
  EXPECT_TRUE(near(pixel({1, 1, 1, 2, 0}), 235, 235, 235));
  fill(63, 102, 240);  // pure red in BT.709, limited
  EXPECT_TRUE(near(pixel({1, 1, 1, 1, 0}), 255, 0, 0));
  fill(81, 90, 240);  // pure red in BT.601
  EXPECT_TRUE(near(pixel({6, 6, 6, 1, 0}), 254, 0, 0));
}

TEST(Picture, PngsAreWhole) {
  const Picture picture{5, 3, std::vector<uint8_t>(45, 200)};
  const std::vector<uint8_t> png = encode_png(picture);
  ASSERT_GT(png.size(), 60u);
  EXPECT_EQ(png[1], 'P');
  EXPECT_EQ(png[19], 5);  // IHDR's width, big-endian, from byte 16 on
  EXPECT_EQ(png[23], 3);
  EXPECT_EQ(std::string(png.end() - 8, png.end() - 4), "IEND");
}

}  // namespace
}  // namespace cairn::video
