#include "video/restore.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "video/random_network.hpp"

namespace cairn::video {
namespace {

Restoration whole(Network network, const Format& small, uint32_t width, uint32_t height) {
  Restoration r;
  r.width = width;
  r.height = height;
  r.small_width = small.width;
  r.small_height = small.height;
  r.scale = network.scale;
  r.architectures.emplace_back();
  r.networks.push_back(std::move(network));
  return r;
}

Format grey(uint32_t width, uint32_t height, uint32_t bits = 8) {
  return {width, height, bits, Chroma::none};
}

Frame run(const Restoration& restoration, const Frame& small, const RestoreOptions& options,
          const Frame* before = nullptr, const Frame* after = nullptr, uint64_t index = 0) {
  Restorer restorer(restoration, small.format, "test", options);
  Frame out;
  restorer.restore(index, before, small, after, out);
  return out;
}

double mean_square(const Plane& plane, const std::vector<float>& reference, uint32_t stride, double peak) {
  double sum = 0;
  for (uint32_t y = 0; y < plane.height; ++y) {
    for (uint32_t x = 0; x < plane.width; ++x) {
      const double want = std::clamp<double>(reference[static_cast<size_t>(y) * stride + x], 0, 1) * peak;
      sum += (plane.row(y)[x] - want) * (plane.row(y)[x] - want);
    }
  }
  return sum / plane.width / plane.height;
}

struct Case {
  const char* network;
  uint32_t scale, bits, width, height, sample_bits;
  double most;  // mean square error against the reference, in steps of 8-bit samples
};

TEST(Restore, IntegersFollowTheReference) {
  for (const Case& c : {Case{"C8M4", 2, 5, 61, 37, 8, 1.0}, Case{"C16M4", 2, 8, 40, 33, 8, 2.0},
                        Case{"C8M2", 1, 6, 50, 20, 8, 1.0}, Case{"C6M1", 3, 4, 31, 9, 8, 1.0},
                        Case{"C12M2", 4, 7, 23, 19, 8, 1.0}, Case{"C8M2", 2, 5, 33, 21, 10, 1.5},
                        Case{"C8M2T3", 2, 5, 33, 21, 8, 1.0}, Case{"C8M1T2", 1, 8, 33, 21, 10, 1.5},
                        Case{"linear", 2, 8, 33, 21, 10, 0.2}, Case{"ESPCN", 2, 6, 20, 9, 8, 2.5},
                        Case{"C8M4", 2, 5, 1, 1, 8, 2.0}}) {
    const Network network = random_network(c.network, c.scale, c.bits, 3);
    validate(network, "test");
    const Format format = grey(c.width, c.height, c.sample_bits);
    const Frame frame = random_frame(format, 1), before = random_frame(format, 2),
                after = random_frame(format, 5);
    std::vector<PlaneView> views = {frame.planes[0].view(), before.planes[0].view(), after.planes[0].view()};
    views.resize(network.frames);
    const std::vector<float> reference = run_reference(network, views, format.peak());
    const Restoration r = whole(network, format, c.width * c.scale, c.height * c.scale);
    const double unit = format.peak() / 255.0;
    Frame first;
    for (const kernels::Target target : kernels::available_targets()) {
      const Frame out = run(r, frame, {2, target, false}, &before, &after);
      const double error =
          mean_square(out.planes[0], reference, c.width * c.scale, format.peak()) / unit / unit;
      EXPECT_LT(error, c.most) << c.network << " x" << c.scale << " on " << kernels::name(target);
      if (first.planes[0].samples.empty()) first = out;
      EXPECT_EQ(out.planes[0].samples, first.planes[0].samples)
          << c.network << ": " << kernels::name(target) << " gives other samples";
    }
    const Frame floats = run(r, frame, {2, kernels::default_target(), true}, &before, &after);
    EXPECT_LT(mean_square(floats.planes[0], reference, c.width * c.scale, format.peak()), 0.09)
        << c.network << " in floats";  // rounding alone: 1/12
  }
}

TEST(Restore, FloatBackbonesEqualTheReference) {
  for (const char* name : {"SRCNN", "VDSR:3", "EDSR:1", "WDSR:1"}) {
    const Network network = random_network(name, 2, 0, 4);
    const Frame frame = random_frame(grey(70, 11), 1);
    const std::vector<float> reference = run_reference(network, {frame.planes[0].view()}, 255);
    const Frame out =
        run(whole(network, frame.format, 140, 22), frame, {2, kernels::default_target(), false});
    EXPECT_LT(mean_square(out.planes[0], reference, 140, 255), 0.09) << name;
  }
}

// Whatever the number of threads, and so the cut into tiles.
TEST(Restore, DoesNotDependOnThreads) {
  const Network network = random_network("C16M4", 2, 8, 3);
  const Frame frame = random_frame(grey(333, 200), 1);
  const Restoration r = whole(network, frame.format, 666, 400);
  const Frame one = run(r, frame, {1, kernels::default_target(), false});
  for (const size_t threads : {2, 5})
    EXPECT_EQ(run(r, frame, {threads, kernels::default_target(), false}).planes[0].samples,
              one.planes[0].samples);
}

TEST(Restore, PatchesHaveNoSeams) {
  const Frame frame = random_frame(grey(101, 67), 1);
  Restoration r = whole(random_network("C8M4", 2, 5, 1), frame.format, 201, 133);
  r.networks.push_back(random_network("C8M4", 2, 6, 2));
  r.networks.push_back(random_network("C16M2", 2, 8, 3));
  r.architectures.resize(3);
  Labels labels{16, 12, 7, 6, {}};
  std::mt19937 random(9);
  labels.frames.resize(2, std::vector<uint8_t>(42));
  for (auto& map : labels.frames) {
    for (auto& label : map) label = static_cast<uint8_t>(random() % 3);
  }
  r.labels = labels;
  std::vector<Frame> alone;  // each network on the whole frame
  for (const Network& network : r.networks)
    alone.push_back(
        run(whole(network, frame.format, 201, 133), frame, {2, kernels::default_target(), false}));
  for (uint64_t index = 0; index < 3; ++index) {
    const Frame out = run(r, frame, {2, kernels::default_target(), false}, nullptr, nullptr, index);
    for (uint32_t y = 0; y < 133; ++y) {
      for (uint32_t x = 0; x < 201; ++x) {
        const uint32_t patch = y / 2 / 12 * 7 + x / 2 / 16;
        const size_t label = index < 2 ? labels.frames[index][patch] : 0;
        ASSERT_EQ(out.planes[0].row(y)[x], alone[label].planes[0].row(y)[x])
            << index << ": " << x << ", " << y;
      }
    }
  }
}

TEST(Restore, OddColourFramesKeepTheirSize) {
  const Format original{201, 133, 10, Chroma::c420}, small{102, 68, 10, Chroma::c420};
  const Frame frame = random_frame(small, 1);
  Restoration r = whole(random_network("C8M1", 2, 5, 1), small, original.width, original.height);
  const Frame plain = run(r, frame, {2, kernels::default_target(), false});
  EXPECT_EQ(plain.format, original);
  EXPECT_EQ(plain.planes[1].width, 101u);
  EXPECT_EQ(plain.planes[2].height, 67u);
  // Without a network of its own chroma is the bicubic's.
  const std::vector<float> bicubic =
      run_reference(make_network(parse_architecture("linear"), 2), {frame.planes[1].view()}, 1023);
  EXPECT_LT(mean_square(plain.planes[1], bicubic, 102, 1023), 0.12);
  Network chroma = random_network("C4M1", 2, 5, 8);
  chroma.plane = Network::Plane::chroma;
  r.chroma = chroma;
  const Frame with = run(r, frame, {2, kernels::default_target(), false});
  EXPECT_EQ(with.planes[0].samples, plain.planes[0].samples);
  EXPECT_LT(mean_square(with.planes[2], run_reference(chroma, {frame.planes[2].view()}, 1023), 102, 1023),
            16);
}

TEST(Restore, RefusesWhatDoesNotFit) {
  const auto message = [](const Restoration& r, const Format& small) -> std::string {
    try {
      Restorer restorer(r, small, "a.mkv");
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  };
  const Format small = grey(20, 10);
  const Restoration good = whole(random_network("C8M1", 2, 5, 1), small, 40, 20);
  EXPECT_EQ(message(good, small), "");
  EXPECT_EQ(message(good, grey(22, 10)), "a.mkv: the small video is 22×10, its networks are for 20×10");
  Restoration r = good;
  r.width = 41;
  EXPECT_EQ(message(r, small), "a.mkv: 20×10 times 2 does not cover 41×20");
  r = good;
  r.networks[0].scale = 3;
  EXPECT_EQ(message(r, small), "a.mkv: network 0 is for ×3, not ×2");
  r = good;
  r.networks[0].layers[0].bias[0] = 65504;
  r.networks[0].layers[0].scales[0] = 6e-8f;
  for (size_t i = 0; i < 9; ++i)
    r.networks[0].layers[0].weights[i] = 6e-8f * r.networks[0].layers[0].codes[i];
  EXPECT_THAT(message(r, small), testing::StartsWith("a.mkv: network 0: layer 0: a bias of 6550"));
}

}  // namespace
}  // namespace cairn::video
