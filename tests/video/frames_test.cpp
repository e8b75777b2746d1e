// Frames through the C interface, by libcairn_video.so: those that this room restores.
#include <cairn/cairn.h>

#include <cstdlib>
#include <filesystem>

#include "encode_fixture.hpp"
#include "video/restored_reader.hpp"

namespace cairn::video {
namespace {

using testing::HasSubstr;

class Frames : public Encode {
 protected:
  Frames() { setenv("CAIRN_LIB", std::filesystem::path(CAIRN_PROGRAM).parent_path().c_str(), 1); }

  void expect_all(cairn_video* video, const std::string& path) {
    RestoredReader reader(path, {}, {}, true);
    cairn_video_frame got{};
    got.size = sizeof got;
    Frame frame;
    size_t frames = 0;
    while (reader.read(frame)) {
      cairn_error error{};
      ASSERT_EQ(cairn_video_next(video, &got, &error), CAIRN_OK) << error.message;
      ASSERT_EQ(got.plane_count, frame.format.planes());
      EXPECT_EQ(got.pts, frame.pts);
      EXPECT_EQ(got.duration, frame.duration);
      for (size_t i = 0; i < frame.format.planes(); ++i) {
        const Plane& plane = frame.planes[i];
        ASSERT_EQ(got.width[i], plane.width);
        ASSERT_EQ(got.height[i], plane.height);
        EXPECT_EQ(std::vector<uint16_t>(got.planes[i], got.planes[i] + plane.samples.size()), plane.samples);
      }
      ++frames;
    }
    EXPECT_EQ(frames, 8u);
    cairn_error error{};
    EXPECT_EQ(cairn_video_next(video, &got, &error), CAIRN_OK) << error.message;
    EXPECT_EQ(got.plane_count, 0u);
  }
};

TEST_F(Frames, AreThoseThatAreRestored) {
  const std::string clip = make_clip();
  run(options(Mode::x2), clip);
  for (const bool restored : {true, false}) {
    const std::string file = restored ? path("out.mkv") : clip;
    SCOPED_TRACE(file);
    cairn_error error{};
    cairn_video* video = nullptr;
    cairn_video_options with;
    cairn_video_options_init(&with, sizeof with);
    with.threads = 2;
    ASSERT_EQ(cairn_video_open(file.c_str(), &with, &video, &error), CAIRN_OK) << error.message;
    cairn_video_info info{};
    info.size = sizeof info;
    EXPECT_EQ(cairn_video_get_info(video, &info, &error), CAIRN_OK);
    EXPECT_EQ(info.width, 112u);
    EXPECT_EQ(info.height, 80u);
    EXPECT_EQ(info.small_width, restored ? 56u : 112u);
    EXPECT_EQ(info.small_height, restored ? 40u : 80u);
    EXPECT_EQ(info.restored, restored ? 1 : 0);
    EXPECT_EQ(info.bits, 8u);
    EXPECT_EQ(info.chroma, CAIRN_CHROMA_420);
    EXPECT_EQ(info.seconds_per_tick, 1e-3);
    EXPECT_EQ(info.matrix, 1);
    expect_all(video, file);
    EXPECT_EQ(cairn_video_rewind(video, &error), CAIRN_OK);
    expect_all(video, file);
    cairn_video_close(video);
    EXPECT_EQ(cairn_video_rewind(video, &error), CAIRN_INVALID_ARGUMENT);
  }
}

TEST_F(Frames, WhatIsNoVideoIsTold) {
  cairn_error error{};
  cairn_video* video = nullptr;
  EXPECT_EQ(cairn_video_open(path("none.mkv").c_str(), nullptr, &video, &error), CAIRN_NOT_FOUND);
  EXPECT_THAT(std::string(error.message), HasSubstr("none.mkv"));
  EXPECT_EQ(cairn_video_open(CAIRN_TEST_DATA "/sampler_golden.json", nullptr, &video, &error), CAIRN_FORMAT);
  EXPECT_THAT(std::string(error.message), HasSubstr("sampler_golden.json"));

  // A file that ends in the middle.
  const std::string clip = make_clip();
  std::filesystem::resize_file(clip, std::filesystem::file_size(clip) * 2 / 3);
  ASSERT_EQ(cairn_video_open(clip.c_str(), nullptr, &video, &error), CAIRN_OK) << error.message;
  cairn_video_frame frame{};
  frame.size = sizeof frame;
  cairn_status status = CAIRN_OK;
  for (int i = 0; i < 9 && status == CAIRN_OK; ++i) status = cairn_video_next(video, &frame, &error);
  EXPECT_EQ(status, CAIRN_FORMAT);
  EXPECT_THAT(std::string(error.message), HasSubstr("clip.mkv"));
  cairn_video_close(video);
}

}  // namespace
}  // namespace cairn::video
