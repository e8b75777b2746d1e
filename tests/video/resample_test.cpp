#include "video/resample.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.hpp"
#include "video/random_network.hpp"

namespace cairn::video {
namespace {

double kernel(Filter filter, double x) {
  x = std::abs(x);
  if (filter == Filter::lanczos) {
    if (x < 1e-12) return 1;
    if (x >= 3) return 0;
    return std::sin(M_PI * x) / (M_PI * x) * std::sin(M_PI * x / 3) / (M_PI * x / 3);
  }
  return x < 1 ? 1.5 * x * x * x - 2.5 * x * x + 1 : x < 2 ? -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2 : 0;
}

// One sample by the definition, in two dimensions at once.
double sample(const Plane& in, double step, Filter filter, double x, double y) {
  const double stretch = std::max(1.0, step), cx = (x + 0.5) * step - 0.5, cy = (y + 0.5) * step - 0.5;
  const int radius = static_cast<int>(3 * stretch) + 1;
  double sum = 0, weights = 0;
  for (int j = static_cast<int>(std::floor(cy)) - radius; j <= cy + radius; ++j) {
    for (int i = static_cast<int>(std::floor(cx)) - radius; i <= cx + radius; ++i) {
      const double w = kernel(filter, (i - cx) / stretch) * kernel(filter, (j - cy) / stretch);
      const int row = std::clamp(j, 0, static_cast<int>(in.height) - 1),
                column = std::clamp(i, 0, static_cast<int>(in.width) - 1);
      sum += w * in.row(static_cast<uint32_t>(row))[column];
      weights += w;
    }
  }
  return sum / weights;
}

TEST(Resample, FollowsTheDefinition) {
  ThreadPool pool(2);
  const Frame frame = random_frame({37, 23, 10, Chroma::none}, 3);
  for (const Filter filter : {Filter::bicubic, Filter::lanczos}) {
    for (const double step : {2.0, 3.0, 4.0, 1.0, 0.5, 1.0 / 3, 0.25}) {
      const auto width = static_cast<uint32_t>(std::ceil(37 / step)),
                 height = static_cast<uint32_t>(std::ceil(23 / step));
      Plane out, alone;
      resample(frame.planes[0].view(), 1023, step, filter, width, height, out, &pool);
      resample(frame.planes[0].view(), 1023, step, filter, width, height, alone, nullptr);
      EXPECT_EQ(out.samples, alone.samples);
      for (uint32_t y = 0; y < height; ++y) {
        for (uint32_t x = 0; x < width; ++x) {
          const double want = std::clamp(sample(frame.planes[0], step, filter, x, y), 0.0, 1023.0);
          ASSERT_NEAR(out.row(y)[x], want, 0.51) << "step " << step << " at " << x << ", " << y;
        }
      }
    }
  }
}

// The networks' bicubic and the resampler's are one.
TEST(Resample, EqualsTheNetworksBicubic) {
  const Frame frame = random_frame({20, 13, 8, Chroma::none}, 3);
  for (uint32_t scale = 1; scale <= 4; ++scale) {
    const std::vector<float> reference =
        run_reference(make_network(parse_architecture("linear"), scale), {frame.planes[0].view()}, 255);
    Plane out;
    resample(frame.planes[0].view(), 255, 1.0 / scale, Filter::bicubic, 20 * scale, 13 * scale, out, nullptr);
    for (size_t i = 0; i < reference.size(); ++i)
      ASSERT_NEAR(out.samples[i], std::clamp(reference[i] * 255, 0.0f, 255.0f), 0.51) << scale;
  }
}

TEST(Resample, SmallFormatsCoverTheOriginal) {
  for (uint32_t scale = 1; scale <= 4; ++scale) {
    for (uint32_t width = 1; width < 20; ++width) {
      for (const Chroma chroma : {Chroma::none, Chroma::c420, Chroma::c422, Chroma::c444}) {
        const Format original{width, width + 3, 8, chroma}, small = small_format(original, scale);
        EXPECT_GE(small.width * scale, original.width);
        if (original.planes() == 1) continue;
        EXPECT_GE(small.plane_width(1) * scale, original.plane_width(1));
        EXPECT_GE(small.plane_height(1) * scale, original.plane_height(1));
        EXPECT_EQ(small.width % (1u << small.shift_x(1)), 0u);
        EXPECT_EQ(small.height % (1u << small.shift_y(1)), 0u);
      }
    }
  }
}

TEST(Resample, DownAndUpKeepsFlatColours) {
  Frame frame, small, back;
  frame.allocate({31, 19, 10, Chroma::c420});
  frame.pts = 77;
  for (size_t p = 0; p < 3; ++p)
    std::fill(frame.planes[p].samples.begin(), frame.planes[p].samples.end(), 300 + p);
  for (const Filter filter : {Filter::bicubic, Filter::lanczos, Filter::sharp, Filter::soft}) {
    downscale(frame, 3, filter, small, nullptr);
    EXPECT_EQ(small.format, (Format{12, 8, 10, Chroma::c420}));
    upscale(small, 3, filter, frame.format, back, nullptr);
    EXPECT_EQ(back.pts, 77);
    for (size_t p = 0; p < 3; ++p) EXPECT_EQ(back.planes[p].samples, frame.planes[p].samples);
  }
}

// Waves of six samples, halved: what is left of them.
TEST(Resample, FiltersKeepMoreOrLessOfWhatIsFine) {
  Frame frame;
  frame.allocate({96, 8, 8, Chroma::none});
  for (uint32_t y = 0; y < 8; ++y) {
    for (uint32_t x = 0; x < 96; ++x)
      frame.planes[0].row(y)[x] =
          static_cast<uint16_t>(std::lround(128 + 100 * std::sin(x * 3.14159265 / 3)));
  }
  const auto contrast = [&](Filter filter) {
    Frame small;
    downscale(frame, 2, filter, small, nullptr);
    double sum = 0;
    for (uint32_t x = 6; x < 42; ++x) sum += std::pow(small.planes[0].row(2)[x] - 128.0, 2);
    return sum;
  };
  EXPECT_GT(contrast(Filter::sharp), contrast(Filter::bicubic));
  EXPECT_GT(contrast(Filter::lanczos), contrast(Filter::bicubic));
  EXPECT_GT(contrast(Filter::bicubic), contrast(Filter::soft));
  for (const Filter filter : {Filter::bicubic, Filter::lanczos, Filter::sharp, Filter::soft})
    EXPECT_EQ(parse_filter(name(filter)), filter);
  EXPECT_THROW(parse_filter("box"), Error);
}

TEST(Resample, RefusesNothing) {
  Plane out;
  EXPECT_THROW(resample({}, 255, 2, Filter::bicubic, 1, 1, out, nullptr), Error);
}

}  // namespace
}  // namespace cairn::video
