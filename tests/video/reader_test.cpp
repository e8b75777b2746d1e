#include "video/reader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.hpp"
#include "video/lossless.hpp"
#include "video/picture.hpp"
#include "video/random_network.hpp"
#include "video/y4m.hpp"

namespace cairn::video {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Videos : public testing::Test {
 protected:
  Videos() {
    folder_ = fs::temp_directory_path() / fmt::format("cairn-reader-{}", ::getpid());
    fs::create_directories(folder_);
  }
  ~Videos() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  // Frames of noise with the stamps given, in milliseconds.
  std::vector<Frame> write(const std::string& name, const Format& format, const std::vector<int64_t>& stamps,
                           const Colour& colour = {}) const {
    VideoInfo info;
    info.format = format;
    info.colour = colour;
    info.time_base = {1, 1000};
    info.frame_rate = {25, 1};
    LosslessFile file(path(name), info);
    std::vector<Frame> frames;
    for (size_t i = 0; i < stamps.size(); ++i) {
      frames.push_back(random_frame(format, static_cast<uint32_t>(i)));
      frames.back().pts = stamps[i];
      frames.back().duration = 40;
      file.write(frames.back());
    }
    file.finish();
    return frames;
  }

  void write_bytes(const std::string& name, const std::string& bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
  }
  std::string bytes(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  // What reading the whole file fails with.
  std::string failure(const std::string& name, ErrorCode code) const {
    try {
      Reader reader(path(name));
      Frame frame;
      while (reader.read(frame)) {
      }
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_THAT(error.what(), testing::StartsWith(path(name)));
      return error.what();
    }
    return "no error";
  }

  fs::path folder_;
};

TEST_F(Videos, EveryFormatComesBackAsWritten) {
  for (const Format& format :
       {Format{64, 48, 8, Chroma::c420}, Format{33, 17, 8, Chroma::c420}, Format{1, 1, 8, Chroma::c420},
        Format{50, 21, 10, Chroma::c420}, Format{40, 20, 8, Chroma::c444}, Format{41, 20, 10, Chroma::c422},
        Format{30, 20, 8, Chroma::none}}) {
    const Colour colour{1, 1, 1, format.bits == 8 ? 2 : 1, 0};
    const std::vector<Frame> frames = write("a.mkv", format, {0, 40, 80}, colour);
    Reader reader(path("a.mkv"));
    EXPECT_EQ(reader.info().format, format) << format.pixel_format();
    EXPECT_EQ(reader.info().codec, "ffv1");
    Frame frame;
    for (int pass = 0; pass < 2; ++pass) {  // and again after rewinding
      for (const Frame& want : frames) {
        ASSERT_TRUE(reader.read(frame));
        for (size_t p = 0; p < format.planes(); ++p)
          ASSERT_EQ(frame.planes[p].samples, want.planes[p].samples)
              << format.pixel_format() << " plane " << p;
      }
      EXPECT_FALSE(reader.read(frame));
      EXPECT_FALSE(reader.read(frame));
      reader.rewind();
    }
    if (format.chroma != Chroma::none) {
      EXPECT_EQ(reader.info().colour.matrix, 1);
      EXPECT_EQ(reader.info().colour.range, colour.range);
    }
  }
}

TEST_F(Videos, VariableRatesKeepTheirStamps) {
  const std::vector<int64_t> stamps = {0, 40, 55, 200, 1000, 1010};
  write("a.mkv", {32, 32, 8, Chroma::c420}, stamps);
  Reader reader(path("a.mkv"));
  Frame frame;
  for (const int64_t stamp : stamps) {
    ASSERT_TRUE(reader.read(frame));
    EXPECT_EQ(frame.pts, stamp);
  }
}

TEST_F(Videos, RefusesWhatIsNoVideo) {
  EXPECT_THAT(failure("absent.mkv", ErrorCode::not_found), HasSubstr("no such file"));
  write_bytes("text.mkv", std::string(5000, 'x'));
  EXPECT_THAT(failure("text.mkv", ErrorCode::format), HasSubstr("not a video"));
  write_bytes("empty.mkv", "");
  EXPECT_NE(failure("empty.mkv", ErrorCode::format), "no error");
  // 8 kHz of silence.
  const std::string header(
      "RIFF\x24\x20\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0"
      "data\0\x20\0\0",
      44);
  write_bytes("a.wav", header + std::string(8192, '\0'));
  EXPECT_EQ(failure("a.wav", ErrorCode::format), path("a.wav") + ": it has no video track");
}

TEST_F(Videos, RefusesAVideoWithoutFrames) {
  VideoInfo info;
  info.format = {32, 32, 8, Chroma::c420};
  write_bytes("a.y4m", y4m_header(info));
  EXPECT_NE(failure("a.y4m", ErrorCode::format), "no error");
}

TEST_F(Videos, TellsAFileThatEndsEarly) {
  write("whole.mkv", {64, 64, 8, Chroma::c420},
        {0, 40, 80, 120, 160, 200, 240, 280, 320, 360, 400, 440, 480});
  const std::string whole = bytes("whole.mkv");
  write_bytes("part.mkv", whole.substr(0, whole.size() / 2));
  EXPECT_NE(failure("part.mkv", ErrorCode::format), "no error");
  // Players take what there is.
  Reader reader(path("part.mkv"), {.threads = 1, .keep_going = true});
  Frame frame;
  int frames = 0;
  while (reader.read(frame)) ++frames;
  EXPECT_GE(frames, 4);
  EXPECT_LT(frames, 10);
}

// Concatenated PNGs are a video to libav.
TEST_F(Videos, ScalesASizeThatChangesAndTellsIt) {
  const auto png = [](uint32_t width) {
    const std::vector<uint8_t> data = encode_png({width, 32, std::vector<uint8_t>(width * 96, 120)});
    return std::string(data.begin(), data.end());
  };
  write_bytes("two.png", png(32) + png(48));
  Reader both(path("two.png"));
  Frame scaled;
  ASSERT_TRUE(both.read(scaled));
  ASSERT_TRUE(both.read(scaled));
  EXPECT_EQ(scaled.format, (Format{32, 32, 8, Chroma::c444}));
  EXPECT_THAT(
      both.notes(),
      testing::Contains(testing::HasSubstr("1 frame of another size (from frame 1 on, 48×32): scaled")));
  // RGB comes as Y'CbCr of BT.709, limited range.
  write_bytes("one.png", png(32) + png(32));
  Reader reader(path("one.png"));
  Frame frame;
  ASSERT_TRUE(reader.read(frame));
  EXPECT_EQ(frame.format, (Format{32, 32, 8, Chroma::c444}));
  EXPECT_NEAR(frame.planes[0].samples[100], 16 + 120 * 219.0 / 255, 1);
  EXPECT_NEAR(frame.planes[1].samples[100], 128, 1);
  EXPECT_EQ(reader.info().colour.matrix, 1);
  EXPECT_EQ(reader.info().colour.range, 1);
  const int64_t first = frame.pts;
  ASSERT_TRUE(reader.read(frame));
  EXPECT_GT(frame.pts, first);
}

}  // namespace
}  // namespace cairn::video
