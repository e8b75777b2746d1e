#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/error.hpp"
#include "video/audio_reader.hpp"
#include "video/encode_fixture.hpp"
#include "video/lossless.hpp"
#include "video/play/player.hpp"
#include "video/random_network.hpp"

namespace cairn::video {
namespace {

TEST(Play, FramesAreShownOnTimeOrDropped) {
  const Timing early = time_frame(1.00, 1.04, 0.97);
  EXPECT_FALSE(early.drop);
  EXPECT_NEAR(early.wait, 0.03, 1e-9);
  const Timing late = time_frame(1.00, 1.04, 1.02);  // its time has come, the next one's has not
  EXPECT_FALSE(late.drop);
  EXPECT_EQ(late.wait, 0);
  EXPECT_TRUE(time_frame(1.00, 1.04, 1.05).drop);
}

// Sixty seconds of a clock, frames every 40 ms of which each takes 65 ms to restore: what is shown stays
// within a frame of its time.
TEST(Play, ASlowMachineDropsInsteadOfDrifting) {
  double now = 0;
  int shown = 0, dropped = 0;
  for (int i = 0; i < 1500; ++i) {
    const Timing t = time_frame(i * 0.04, (i + 1) * 0.04, now);
    if (t.drop) {
      ++dropped;
      continue;
    }
    now += t.wait;
    EXPECT_LT(now - i * 0.04, 0.04);
    ++shown;
    now += 0.065;
  }
  EXPECT_NEAR(shown, 60 / 0.065, 5);
  EXPECT_EQ(shown + dropped, 1500);
}

class Window : public testing::Test {
 protected:
  Window()
      : path_((std::filesystem::temp_directory_path() / fmt::format("cairn-play-{}.mkv", ::getpid()))
                  .string()) {
    setenv("SDL_AUDIODRIVER", "dummy", 1);
    VideoInfo info;
    info.format = {64, 48, 10, Chroma::c422};
    info.time_base = {1, 1000};
    info.frame_rate = {50, 1};
    LosslessFile file(path_, info);
    for (int i = 0; i < 8; ++i) {
      Frame frame = random_frame(info.format, static_cast<uint32_t>(i));
      frame.pts = 20 * i;
      frame.duration = 20;
      file.write(frame);
    }
    file.finish();
  }
  ~Window() override { std::filesystem::remove(path_); }
  std::string path_;
};

TEST_F(Window, EveryFrameIsShownOrCounted) {
  setenv("SDL_VIDEODRIVER", "dummy", 1);
  try {
    const PlayReport report = play(path_);
    EXPECT_EQ(report.shown + report.dropped, 8u);
    EXPECT_GE(report.shown, 1u);
  } catch (const Error& error) {
    // A build without SDL2 says so.
    EXPECT_THAT(error.what(), testing::HasSubstr("built without SDL2"));
  }
}

TEST_F(Window, NoDisplayIsTold) {
  setenv("SDL_VIDEODRIVER", "none-such", 1);
  try {
    play(path_);
    ADD_FAILURE() << "a window was opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_THAT(error.what(), testing::AnyOf(testing::StartsWith("no window can be opened: "),
                                             testing::HasSubstr("built without SDL2")));
  }
}

// Drivers that draw into nothing are not taken for a display, and nobody else's words come first.
TEST_F(Window, NothingIsPlayedWithoutADisplay) {
  int status = 0;
  const std::string text = output_of(
      "env -u SDL_VIDEODRIVER -u DISPLAY -u WAYLAND_DISPLAY -u XDG_RUNTIME_DIR "
      "SDL_KMSDRM_DEVICE_INDEX=99 " CAIRN_PROGRAM " video play " +
          path_ + " 2>&1 < /dev/null",
      status);
  if (text.find("built without SDL2") == std::string::npos) {
    EXPECT_THAT(text, testing::StartsWith("cairn: no window can be opened: "));
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  }
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

TEST_F(Window, VideosWithoutSoundHaveNone) {
  EXPECT_EQ(AudioReader::open(path_), nullptr);
  EXPECT_EQ(AudioReader::open(path_ + ".absent"), nullptr);
}

// Six channels become two, all of the clip's length.
TEST(Audio, IsDecodedAtFortyEightKilohertz) {
  const auto clip = std::filesystem::path(CAIRN_TEST_DATA).parent_path().parent_path() /
                    "../shared/clips/big_buck_bunny_720p25_132f.mp4";
  const auto reader = AudioReader::open(clip.string());
  ASSERT_NE(reader, nullptr);
  std::vector<int16_t> samples;
  while (reader->read(samples)) {
  }
  EXPECT_NEAR(static_cast<double>(samples.size()) / 2 / 48000, 5.312, 0.05);
  EXPECT_TRUE(std::any_of(samples.begin(), samples.end(), [](int16_t v) { return v > 100 || v < -100; }));
}

}  // namespace
}  // namespace cairn::video
