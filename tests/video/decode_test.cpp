// Files restored and compared, as the commands do it.
#include "video/decode.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "video/compare.hpp"
#include "video/container.hpp"
#include "video/lossless.hpp"
#include "video/metrics.hpp"
#include "video/random_network.hpp"
#include "video/resample.hpp"
#include "video/restored_reader.hpp"
#include "video/track.hpp"

namespace cairn::video {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kWidth = 101, kHeight = 67;

class Decode : public testing::Test {
 protected:
  Decode() : folder_(fs::temp_directory_path() / fmt::format("cairn-decode-{}", ::getpid())) {
    fs::create_directories(folder_);
    make_clip();
  }
  ~Decode() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  static std::string bytes(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  // original.mkv, five frames of a variable rate; and clip.mkv, the same at half its size (lossless) with a
  // network of random weights that looks at both neighbours.
  void make_clip() {
    VideoInfo info;
    info.format = {kWidth, kHeight, 8, Chroma::c420};
    info.colour = {1, 1, 1, 1, 1};
    info.time_base = {1, 1000};
    info.frame_rate = {25, 1};
    LosslessFile original(path("original.mkv"), info);
    VideoInfo small_info = info;
    small_info.format = small_format(info.format, 2);
    LosslessFile small(path("small.mkv"), small_info);
    for (uint32_t i = 0; i < stamps_.size(); ++i) {
      Frame frame = random_frame(info.format, i), shrunk;
      frame.pts = stamps_[i];
      frame.duration = 40;
      downscale(frame, 2, Filter::bicubic, shrunk, nullptr);
      original.write(frame);
      small.write(shrunk);
      originals_.push_back(frame);
      smalls_.push_back(shrunk);
    }
    original.finish();
    small.finish();
    restoration_.width = kWidth;
    restoration_.height = kHeight;
    restoration_.small_width = small_info.format.width;
    restoration_.small_height = small_info.format.height;
    restoration_.scale = 2;
    restoration_.architectures.push_back(parse_architecture("C8M1T3"));
    restoration_.networks.push_back(random_network("C8M1T3", 2, 5, 1));
    // The grids of the file's scales are coarser than these: take the network as a reader of the file has it.
    attachment_ = write_attachment(float_copy(restoration_));
    restoration_ = read_attachment(attachment_, "test");
    write_matroska(path("clip.mkv"), read_track(path("small.mkv")), attachment_);
  }

  // The networks as floats: their bytes keep them as they are.
  static Restoration float_copy(Restoration r) {
    for (Network& network : r.networks) {
      network.weight_bits = 0;
      network.skip_codes.clear();
      network.skip_scales.clear();
      for (Layer& layer : network.layers) {
        layer.codes.clear();
        layer.scales.clear();
      }
    }
    return r;
  }

  // What the restorer makes of the small frames.
  std::vector<Frame> restored() {
    Restorer restorer(restoration_, smalls_[0].format, "test");
    std::vector<Frame> out(smalls_.size());
    for (size_t i = 0; i < smalls_.size(); ++i) {
      restorer.restore(i, i > 0 ? &smalls_[i - 1] : nullptr, smalls_[i],
                       i + 1 < smalls_.size() ? &smalls_[i + 1] : nullptr, out[i]);
    }
    return out;
  }

  fs::path folder_;
  std::vector<int64_t> stamps_ = {0, 40, 130, 170, 210};
  std::vector<Frame> originals_, smalls_;
  Restoration restoration_;
  std::vector<std::byte> attachment_;
};

TEST_F(Decode, Y4mHoldsEveryRestoredSample) {
  const DecodeReport report = decode(path("clip.mkv"), path("out.y4m"));
  EXPECT_EQ(report.frames, 5u);
  std::string want;
  for (const Frame& frame : restored()) {
    want += "FRAME\n";
    for (const Plane& plane : frame.planes) {
      for (const uint16_t sample : plane.samples) want += static_cast<char>(sample);
    }
  }
  const std::string got = bytes(path("out.y4m"));
  const size_t header = got.find('\n') + 1;
  EXPECT_THAT(got.substr(0, header), testing::StartsWith("YUV4MPEG2 W101 H67 F"));
  EXPECT_THAT(got.substr(0, header), testing::HasSubstr(" C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE=LIMITED"));
  EXPECT_TRUE(got.substr(header) == want);
}

TEST_F(Decode, LosslessFilesKeepStampsAndColours) {
  decode(path("clip.mkv"), path("out.mkv"));
  Reader reader(path("out.mkv"));
  Frame frame;
  const std::vector<Frame> want = restored();
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_TRUE(reader.read(frame));
    EXPECT_EQ(frame.pts, stamps_[i]);
    for (size_t p = 0; p < 3; ++p) EXPECT_EQ(frame.planes[p].samples, want[i].planes[p].samples);
  }
  EXPECT_FALSE(reader.read(frame));
  EXPECT_EQ(reader.info().colour.matrix, 1);
  EXPECT_EQ(reader.info().colour.range, 1);
}

TEST_F(Decode, FoldersGetOnePngAFrame) {
  DecodeOptions options;
  options.frames = 2;
  decode(path("clip.mkv"), path("pictures/"), options);
  EXPECT_TRUE(fs::exists(path("pictures/00000001.png")));
  EXPECT_TRUE(fs::exists(path("pictures/00000002.png")));
  EXPECT_FALSE(fs::exists(path("pictures/00000003.png")));
  Reader reader(path("pictures/00000002.png"));
  EXPECT_EQ(reader.info().format.width, kWidth);
  EXPECT_EQ(reader.info().format.height, kHeight);
}

TEST_F(Decode, AnyOtherVideoIsDecodedAsItIs) {
  decode(path("original.mkv"), path("out.mkv"));
  Reader reader(path("out.mkv"));
  Frame frame;
  for (const Frame& want : originals_) {
    ASSERT_TRUE(reader.read(frame));
    EXPECT_EQ(frame.planes[0].samples, want.planes[0].samples);
  }
}

TEST_F(Decode, RewindsToTheSameFrames) {
  RestoredReader reader(path("clip.mkv"));
  Frame first, again;
  ASSERT_TRUE(reader.read(first));
  while (reader.skip()) {
  }
  reader.rewind();
  ASSERT_TRUE(reader.read(again));
  EXPECT_EQ(first.planes[0].samples, again.planes[0].samples);
  ASSERT_TRUE(reader.skip());
  ASSERT_TRUE(
      reader.read(again));  // the third: its neighbours are known in spite of the one that was skipped
  EXPECT_EQ(again.planes[0].samples, restored()[2].planes[0].samples);
}

std::string failure(const std::string& from, const std::string& to) {
  try {
    decode(from, to);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST_F(Decode, NothingIsLeftOfAFailure) {
  const std::string whole = bytes(path("clip.mkv"));
  std::ofstream(path("part.mkv"), std::ios::binary) << whole.substr(0, whole.size() * 3 / 4);
  for (const char* to : {"out.y4m", "out.mkv"}) {
    EXPECT_NE(failure(path("part.mkv"), path(to)), "no error");
    EXPECT_FALSE(fs::exists(path(to)));
  }
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder_)) names.push_back(entry.path().filename());
  EXPECT_THAT(names, testing::UnorderedElementsAre("original.mkv", "small.mkv", "clip.mkv", "part.mkv"));
}

TEST_F(Decode, AnInterruptLeavesNothing) {
  catch_interrupts();
  for (const char* to : {"out.y4m", "out.mkv"}) {
    std::raise(SIGINT);
    EXPECT_EQ(failure(path("clip.mkv"), path(to)), "interrupted");
    clear_interrupt();
  }
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(folder_)) files += entry.is_regular_file() ? 1 : 0;
  EXPECT_EQ(files, 3u);  // the original, the small one, the clip
}

TEST_F(Decode, RefusesOutputsItDoesNotKnow) {
  EXPECT_THAT(failure(path("clip.mkv"), path("out.avi")),
              testing::HasSubstr("a name ending in .y4m or .mkv"));
  EXPECT_THAT(failure(path("clip.mkv"), path("clip.mkv")), testing::HasSubstr("are the same file"));
  EXPECT_THAT(failure(path("clip.mkv"), path("absent/out.mkv")), testing::HasSubstr("No such file"));
  EXPECT_THAT(failure(path("clip.mkv"), "/dev/full"), testing::HasSubstr("No space left"));
}

TEST_F(Decode, ComparesWholeFrames) {
  CompareOptions options;
  options.crops = true;
  const Comparison c = compare(path("original.mkv"), path("clip.mkv"), options);
  EXPECT_EQ(c.frames, 5u);
  EXPECT_EQ(c.scale, 2u);
  EXPECT_EQ(c.bytes.picture(), c.bytes.video + attachment_.size());
  const std::vector<Frame> want = restored();
  double error = 0, lanczos = 0, patches = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    Frame scaled;
    upscale(smalls_[i], 2, Filter::lanczos, originals_[i].format, scaled, nullptr);
    error += squared_error(originals_[i].planes[0], want[i].planes[0]);
    lanczos += squared_error(originals_[i].planes[0], scaled.planes[0]);
  }
  const double samples = 5.0 * kWidth * kHeight;
  EXPECT_NEAR(c.restored.psnr_y, psnr(error / samples, 255), 1e-9);
  EXPECT_NEAR(c.lanczos.psnr_y, psnr(lanczos / samples, 255), 1e-9);
  for (uint32_t y = 0; y < c.patch_rows; ++y) {
    for (uint32_t x = 0; x < c.patch_columns; ++x) {
      patches += c.patches[y * c.patch_columns + x] * std::min(32u, kWidth - 32 * x) *
                 std::min(32u, kHeight - 32 * y);
    }
  }
  EXPECT_NEAR(patches * 5, error, 1e-6 * error);
  const Comparison same = compare(path("original.mkv"), path("original.mkv"), {});
  EXPECT_EQ(same.restored.psnr_y, 100);
  EXPECT_EQ(same.restored.psnr_rgb, 100);
  EXPECT_NEAR(same.restored.ssim_y, 1, 1e-9);

  const std::string html = comparison_html(c, "a <b>");
  EXPECT_NE(html.find("a &lt;b&gt;"), std::string::npos);
  EXPECT_NE(html.find(fmt::format("{:.2f} dB", c.restored.psnr_y)), std::string::npos);
  EXPECT_NE(html.find("data:image/png;base64,iVBORw0KGgo"), std::string::npos);
}

TEST_F(Decode, ComparesOnlyWhatFits) {
  const auto message = [&](const std::string& a, const std::string& b) -> std::string {
    try {
      compare(path(a), path(b), {});
      return "no error";
    } catch (const Error& error) {
      return error.what();
    }
  };
  EXPECT_EQ(message("small.mkv", "clip.mkv"),
            path("small.mkv") + " is 52×34, " + path("clip.mkv") + " is 101×67");
  DecodeOptions fewer;
  fewer.frames = 4;
  decode(path("original.mkv"), path("four.mkv"), fewer);
  EXPECT_EQ(message("four.mkv", "clip.mkv"),
            path("four.mkv") + " has 4 frames, " + path("clip.mkv") + " has more");
}

}  // namespace
}  // namespace cairn::video
