// Which patches networks are trained on.
#include "video/encode/patches.hpp"

#include "video/encode_fixture.hpp"

namespace cairn::video {
namespace {

SmallVideo small_of(uint32_t width, uint32_t height) {
  SmallVideo small;
  small.format.width = width;
  small.format.height = height;
  return small;
}

TEST(Patches, ChunksHaveEquallyManyWhateverTheScores) {
  const SmallVideo small = small_of(96, 108);  // 2 × 2 patches
  const Labels spread = label_chunks({{40, 10, 30, 20}, {50, 80, 70, 60}}, small, 4);
  EXPECT_EQ(spread.columns, 2u);
  EXPECT_EQ(spread.rows, 2u);
  EXPECT_EQ(spread.frames[0], (std::vector<uint8_t>{1, 0, 1, 0}));
  EXPECT_EQ(spread.frames[1], (std::vector<uint8_t>{2, 3, 3, 2}));
  const Labels alike = label_chunks({{99, 99, 99, 99}, {99, 99, 99, 99}}, small, 2);
  EXPECT_EQ(alike.frames[0], (std::vector<uint8_t>(4, 0)));
  EXPECT_EQ(alike.frames[1], (std::vector<uint8_t>(4, 1)));
}

TEST(Patches, TheHarderAreTrainedOn) {
  const SmallVideo small = small_of(96, 54);
  PatchScores scores;
  for (int i = 0; i < 8; ++i) scores.push_back({static_cast<float>(10 * i), static_cast<float>(99 - i)});
  TrainingSet set;
  set.width = 96;
  set.height = 54;
  set.frames.resize(4);  // of the six frames 2 … 7: 3, 4, 6, 7
  const Sampling sampling = harder_patches(set, scores, small, {2, 8});
  EXPECT_EQ(sampling.shares, (std::vector<float>{1, 0.5f, 0.5f, 0}));
  EXPECT_FALSE(sampling.only_these);
  ASSERT_EQ(set.labels.size(), 4u);
  EXPECT_EQ(set.labels[0], (std::vector<uint8_t>{0, 3}));  // 30 and 96 of 20 … 70, 92 … 97
  EXPECT_EQ(set.labels[3], (std::vector<uint8_t>{1, 2}));  // 70 and 92
  CropSampler sampler(set, sampling, 8, 1);
  for (int i = 0; i < 200; ++i) {
    const CropPlace place = sampler.draw();
    EXPECT_NE(set.labels[place.frame][(place.x + 4) / 48], 3) << place.frame << " " << place.x;
  }
}

// A set of few frames of a clip may hold none of the hardest patches: then all are trained on.
TEST(Patches, ASetWithoutHardPatchesIsTrainedOnWhole) {
  TrainingSet set;
  set.width = 48;
  set.height = 54;
  set.frames.resize(1);  // the last of four
  const Sampling sampling = harder_patches(set, {{10}, {20}, {30}, {40}}, small_of(48, 54), {0, 4});
  EXPECT_EQ(sampling.shares, (std::vector<float>(4, 1)));
  EXPECT_NO_THROW(CropSampler(set, sampling, 8, 1));
}

TEST_F(Encode, TheHarderPatchesAreTheDefault) {
  const std::string clip = make_clip({224, 160, 8, Chroma::c420}, 4);
  EncodeOptions o = options(Mode::x2);
  o.train_steps = 40;
  const auto codes = [&] {
    run(o, clip);
    return read_cairn_file(path("out.mkv")).restoration->networks[0].layers[0].codes;
  };
  const auto harder = codes();
  o.jstdo = false;
  const auto all = codes();
  EXPECT_NE(harder, all);
  EXPECT_EQ(harder, (o.jstdo = true, codes()));
}

// Frames whose patches are all alike: no chunk is empty.
TEST_F(Encode, BlackFrames) {
  VideoInfo info;
  info.format = {112, 80, 8, Chroma::c420};
  info.time_base = {1, 1000};
  info.frame_rate = {25, 1};
  LosslessFile file(path("black.mkv"), info);
  Frame frame;
  frame.allocate(info.format);
  for (int i = 0; i < 3; ++i) {
    frame.pts = 40 * i;
    frame.duration = 40;
    file.write(frame);
  }
  file.finish();
  for (const uint32_t chunks : {1u, 2u}) {
    EncodeOptions o = options(Mode::x1);
    o.chunks = chunks;
    o.train_steps = 5;
    EXPECT_GT(run(o, path("black.mkv")).result.psnr, 60);
  }
}

}  // namespace
}  // namespace cairn::video
