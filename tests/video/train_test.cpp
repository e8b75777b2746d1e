// Training: gradients against differences, the pass against the plain reference, and that it learns.
#include "video/train/train.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>

#include "base/error.hpp"
#include "video/train/checkpoint.hpp"
#include "video/train/pass.hpp"

namespace cairn::video {
namespace {

// Noise that is smooth on the small grid and has, at `scale` times it, detail that depends on it.
TrainingSet make_set(uint32_t width, uint32_t height, uint32_t scale, uint32_t frames) {
  TrainingSet set;
  set.width = width;
  set.height = height;
  set.scale = scale;
  for (uint32_t f = 0; f < frames; ++f) {
    TrainingFrame frame;
    std::vector<uint16_t> small;
    const auto sample = [&](double x, double y) {
      const double wave =
          std::sin(0.35 * x + f) * std::cos(0.27 * y - 0.5 * f) + 0.4 * std::sin(0.9 * (x + y));
      return 128 + 50 * wave + (wave > 0.2 ? 40 : 0);
    };
    for (uint32_t y = 0; y < height; ++y) {
      for (uint32_t x = 0; x < width; ++x)
        small.push_back(static_cast<uint16_t>(std::clamp(sample(x, y), 0.0, 255.0)));
    }
    frame.small.push_back(std::move(small));
    for (uint32_t y = 0; y < height * scale; ++y) {
      for (uint32_t x = 0; x < width * scale; ++x) {
        const double at_x = (x + 0.5) / scale - 0.5, at_y = (y + 0.5) / scale - 0.5;
        frame.original.push_back(static_cast<uint16_t>(std::clamp(sample(at_x, at_y), 0.0, 255.0)));
      }
    }
    set.frames.push_back(std::move(frame));
  }
  return set;
}

std::vector<float> weights_of(const Parameters& parameters) {
  std::vector<float> weights(parameters.effective_size());
  parameters.effective(weights);
  return weights;
}

class TrainTargets : public testing::TestWithParam<std::tuple<kernels::Target, const char*>> {};

TEST_P(TrainTargets, GradientsAreThoseOfDifferences) {
  const auto [target, name] = GetParam();
  const Network shape = make_network(parse_architecture(name), 2);
  TrainingSet set = make_set(40, 30, 2, shape.frames);
  for (uint32_t f = 1; f < shape.frames; ++f) set.frames[0].small.push_back(set.frames[f].small[0]);
  set.frames.resize(1);
  Parameters parameters(shape, true, 0.05, 3);
  CropSampler sampler(set, {}, 21, 1);
  CropPass pass(shape, sampler.crop_width(), sampler.crop_height(), target);
  pass.load(set, sampler, {0, 3, 9});
  std::vector<float> weights = weights_of(parameters), gradient(parameters.effective_size(), 0.0f);
  pass.forward(parameters.pass_weights(weights));
  pass.backward(parameters.pass_weights(weights), gradient);

  // Along the gradient itself and along random directions: single weights would drown in float rounding.
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  for (int round = 0; round < 4; ++round) {
    std::vector<float> direction(weights.size());
    for (size_t i = 0; i < direction.size(); ++i) direction[i] = round == 0 ? gradient[i] : normal(random);
    double length = 0, slope = 0;
    for (const float d : direction) length += static_cast<double>(d) * d;
    const double step = 2e-3 / std::sqrt(length);
    for (size_t i = 0; i < direction.size(); ++i) slope += static_cast<double>(direction[i]) * gradient[i];
    const auto error_at = [&](double along) {
      std::vector<float> moved = weights;
      for (size_t i = 0; i < moved.size(); ++i) moved[i] += static_cast<float>(along * direction[i]);
      return pass.forward(parameters.pass_weights(moved));
    };
    const double measured = (error_at(step) - error_at(-step)) / (2 * step);
    EXPECT_NEAR(measured, slope, 0.02 * std::abs(slope) + 2e-4 * std::sqrt(length))
        << name << " round " << round;
  }
}

TEST_P(TrainTargets, ThePassIsTheReference) {
  const auto [target, name] = GetParam();
  const TrainingSet set = make_set(37, 29, 2, 1);
  Network shape = make_network(parse_architecture(name), 2);
  const Parameters parameters(shape, true, 0.05, 5);
  const Network network = parameters.network();
  CropPass pass(network, set.width, set.height, target);
  const PlaneView view{set.frames[0].small[0].data(), set.width, set.height, set.width};
  const NetworkWeights weights(network);
  pass.load(std::vector<PlaneView>(network.frames, view), set.peak, 0, 0);
  pass.forward(weights.pass_weights(false));
  const std::vector<float> wanted =
      run_reference(network, std::vector<PlaneView>(network.frames, view), set.peak);
  double worst = 0;
  for (uint32_t y = 0; y < 2 * set.height; ++y) {
    for (uint32_t x = 0; x < 2 * set.width; ++x) {
      const float got = pass.row(y % 2 * 2 + x % 2, y / 2)[x / 2];
      worst = std::max(worst, std::abs(static_cast<double>(got) - wanted[y * 2 * set.width + x]));
    }
  }
  EXPECT_LT(worst, 1e-4) << name;
}

INSTANTIATE_TEST_SUITE_P(Kernels, TrainTargets,
                         testing::Combine(testing::ValuesIn(kernels::available_targets().begin(),
                                                            kernels::available_targets().end()),
                                          testing::Values("C8M2", "C3M1T2", "linear", "EDSR:1", "C12M0",
                                                          "SRCNN", "VDSR:2")),
                         [](const auto& which) {
                           std::string name = fmt::format("{}_{}", kernels::name(std::get<0>(which.param)),
                                                          std::get<1>(which.param));
                           std::replace(name.begin(), name.end(), ':', '_');
                           return name;
                         });

double psnr(const Network& network, const TrainingSet& set) {
  double sum = 0;
  size_t count = 0;
  for (const TrainingFrame& frame : set.frames) {
    const PlaneView view{frame.small[0].data(), set.width, set.height, set.width};
    const std::vector<float> got =
        run_reference(network, std::vector<PlaneView>(network.frames, view), set.peak);
    for (size_t i = 0; i < got.size(); ++i) {
      const double d = got[i] - frame.original[i] / 255.0;
      sum += d * d;
    }
    count += got.size();
  }
  return -10 * std::log10(sum / static_cast<double>(count));
}

TrainOptions quick() {
  TrainOptions options;
  options.steps = 120;
  options.batch = 2;
  options.rate = 5e-3;
  return options;
}

TEST(Train, AQuantisedNetworkBeatsTheBicubic) {
  const TrainingSet set = make_set(64, 48, 2, 2);
  ThreadPool pool(2, ThreadPool::Idle::sleep);
  const Network shape = make_network(parse_architecture("C4M1"), 2);
  const Trained trained = train(shape, set, quick(), pool);
  ASSERT_NO_THROW(validate(trained.network, "trained"));
  EXPECT_EQ(trained.network.weight_bits, 5u);
  EXPECT_EQ(trained.steps, 120u);
  EXPECT_GT(psnr(trained.network, set), psnr(make_network(parse_architecture("linear"), 2), set) + 0.5);
}

// On the upscaled frame, as SRCNN and VDSR work.
TEST(Train, NetworksOnUpscaledFramesLearn) {
  const TrainingSet set = make_set(48, 40, 2, 1);
  ThreadPool pool(2, ThreadPool::Idle::sleep);
  TrainOptions options = quick();
  options.steps = 60;
  options.rate = 1e-3;
  const Trained trained = train(make_network(parse_architecture("VDSR:2"), 2), set, options, pool);
  ASSERT_NO_THROW(validate(trained.network, "trained"));
  EXPECT_GT(psnr(trained.network, set), psnr(make_network(parse_architecture("linear"), 2), set) + 0.5);
}

size_t changed_codes(const Network& a, const Network& b) {
  size_t changed = 0;
  for (size_t i = 0; i < a.layers.size(); ++i) {
    for (size_t w = 0; w < a.layers[i].codes.size(); ++w)
      changed += a.layers[i].codes[w] != b.layers[i].codes[w] ? 1 : 0;
  }
  return changed;
}

// A network for a second scene, begun from the first's: it keeps most of its codes, and learns.
TEST(Train, StaysNearItsStart) {
  TrainingSet first = make_set(64, 48, 2, 3), second = first;
  first.frames.resize(1);
  second.frames.erase(second.frames.begin(), second.frames.begin() + 2);
  ThreadPool pool(2, ThreadPool::Idle::sleep);
  const Network shape = make_network(parse_architecture("C4M1"), 2);
  TrainOptions options = quick();
  const Network start = train(shape, first, options, pool).network;
  options.start = &start;
  options.rate = 2e-3;
  options.reluctance = 0.25f;
  const Network near = train(shape, second, options, pool).network;
  options.reluctance = 100;
  const Network nailed = train(shape, second, options, pool).network;
  options.reluctance = -1;
  const Network freely = train(shape, second, options, pool).network;
  ASSERT_NO_THROW(validate(near, "near"));
  EXPECT_GT(psnr(near, second), psnr(start, second) + 0.05);
  EXPECT_EQ(changed_codes(start, nailed), 0u);
  EXPECT_GT(changed_codes(start, near), 0u);
  EXPECT_LT(changed_codes(start, near), changed_codes(start, freely));
  options.reluctance = 0.25f;
  options.weight_bits = 6;
  EXPECT_THROW(train(shape, second, options, pool), Error);
  options.reluctance = -1;
  EXPECT_THROW(train(make_network(parse_architecture("C8M1"), 2), second, options, pool), Error);
}

TEST(Train, ThreadsDoNotChangeTheResult) {
  const TrainingSet set = make_set(50, 40, 1, 1);
  ThreadPool one(1), three(3, ThreadPool::Idle::sleep);
  const Network shape = make_network(parse_architecture("C4M1"), 1);
  TrainOptions options = quick();
  options.steps = 30;
  const Network a = train(shape, set, options, one).network, b = train(shape, set, options, three).network;
  for (size_t i = 0; i < a.layers.size(); ++i) EXPECT_EQ(a.layers[i].codes, b.layers[i].codes);
}

// Stopped in the middle (by whoever listens to its progress) and begun again.
TEST(Train, AResumedTrainingEndsWithTheSameNetwork) {
  const TrainingSet set = make_set(50, 40, 1, 1);
  ThreadPool pool(2, ThreadPool::Idle::sleep);
  const Network shape = make_network(parse_architecture("C4M1"), 1);
  TrainOptions options = quick();
  options.steps = 100;
  const Network whole = train(shape, set, options, pool).network;
  options.checkpoint = testing::TempDir() + "/cairn_train_checkpoint";
  std::filesystem::remove(options.checkpoint);
  options.checkpoint_seconds = 0;           // at every step
  for (const uint32_t stop : {20u, 80u}) {  // before and after rounding begins
    options.progress = [&](const TrainProgress& p) {
      if (p.step >= stop) fail(ErrorCode::cancelled, "stopped");
    };
    EXPECT_THROW(train(shape, set, options, pool), Error);
  }
  EXPECT_TRUE(std::filesystem::exists(options.checkpoint));
  options.progress = nullptr;
  TrainOptions other = options;
  other.seed = 99;
  EXPECT_THROW(train(shape, set, other, pool), Error);
  const Network resumed = train(shape, set, options, pool).network;
  // It is done: another run takes what is there, and one of another training may write over it.
  options.progress = [](const TrainProgress&) { ADD_FAILURE() << "a step was done again"; };
  EXPECT_EQ(train(shape, set, options, pool).network.layers[0].codes, resumed.layers[0].codes);
  other.forgiving = true;
  other.progress = nullptr;
  EXPECT_NE(train(shape, set, other, pool).network.layers[0].codes, resumed.layers[0].codes);
  std::filesystem::remove(options.checkpoint);
  for (size_t i = 0; i < whole.layers.size(); ++i) {
    EXPECT_EQ(whole.layers[i].codes, resumed.layers[i].codes);
    EXPECT_EQ(whole.layers[i].bias, resumed.layers[i].bias);
  }
}

TEST(Train, ChunksAreTrainedOnTheirOwnPatches) {
  TrainingSet set = make_set(64, 48, 1, 1);
  set.patch_width = set.patch_height = 16;
  set.labels.assign(1, std::vector<uint8_t>(12, 0));
  set.labels[0][5] = 1;
  CropSampler sampler(set, {{0, 1}, true}, 16, 1);
  for (int i = 0; i < 50; ++i) {
    const CropPlace place = sampler.draw();
    EXPECT_LE(place.x, 16u + 15);
    EXPECT_GE(place.x + 16, 16u + 8);
  }
  EXPECT_TRUE(sampler.counts(0, 17, 17));
  EXPECT_FALSE(sampler.counts(0, 15, 17));
  EXPECT_THROW(CropSampler(set, {{0, 0, 1}, true}, 16, 1), Error);
}

}  // namespace
}  // namespace cairn::video
