// A small video that another encoder made: its packets come through as they are, and its networks are those
// that encode() trains for the same video of its own.
#include "video/encode_fixture.hpp"
#include "video/packets.hpp"

namespace cairn::video {
namespace {

using testing::HasSubstr;

class Coded : public Encode {
 protected:
  // A plain video of make_clip()'s frames, coded at a size that encode() gives it.
  std::string make_small(Mode mode, const std::string& clip) {
    EncodeOptions o = options(mode);
    o.train_steps = 1;
    run(o, clip);
    write_matroska(path("small.mkv"), read_packets(path("out.mkv")), {});
    std::filesystem::remove(path("out.mkv"));
    return path("small.mkv");
  }
  EncodeOptions given(const std::string& small) const {
    EncodeOptions o = options(Mode::automatic);
    o.crf.reset();
    o.coded = small;
    return o;
  }
};

TEST_F(Coded, PacketsAndNetworksAreTheSame) {
  const std::string clip = make_clip();
  for (const Mode mode : {Mode::x1, Mode::x2, Mode::x3}) {
    const EncodeReport own = run(options(mode), clip);
    const auto bytes = write_attachment(*read_cairn_file(path("out.mkv")).restoration);
    std::filesystem::rename(path("out.mkv"), path("own.mkv"));
    EncodeOptions o = given(path("own.mkv"));
    if (mode == Mode::x1) o.mode = mode;  // so few bytes that it would not pay
    const EncodeReport report = run(o, clip);
    EXPECT_EQ(report.result.mode, mode);
    EXPECT_EQ(report.video, own.video);
    EXPECT_EQ(report.result.psnr, own.result.psnr);
    EXPECT_EQ(report.bicubic_psnr, own.bicubic_psnr);
    EXPECT_EQ(write_attachment(*read_cairn_file(path("out.mkv")).restoration), bytes) << name(mode);
    const CodedVideo a = read_packets(path("own.mkv")), b = read_packets(path("out.mkv"));
    ASSERT_EQ(a.packets.size(), b.packets.size());
    for (size_t i = 0; i < a.packets.size(); ++i) {
      EXPECT_EQ(a.packets[i].data, b.packets[i].data) << i;
      EXPECT_EQ(a.packets[i].pts, b.packets[i].pts) << i;
      EXPECT_EQ(a.packets[i].key, b.packets[i].key) << i;
    }
    EXPECT_NEAR(seen_psnr(clip), report.result.psnr, 1e-6);
  }
}

// At the original's size a network that does not pay is left out; so it is where that is told.
TEST_F(Coded, ItMayStayPlain) {
  const std::string clip = make_clip(), small = make_small(Mode::plain, clip);
  EncodeOptions o = given(small);
  o.network = parse_architecture("C16M4");  // thousands of bytes for a video of as many
  o.train_steps = 2;
  const EncodeReport report = run(o, clip);
  ASSERT_EQ(report.choices.size(), 2u);
  EXPECT_LT(report.choices[1].advantage, 0);
  EXPECT_EQ(report.result.mode, Mode::plain);
  EXPECT_FALSE(read_cairn_file(path("out.mkv")).restoration);
  o.mode = Mode::x1;
  EXPECT_EQ(run(o, clip).result.mode, Mode::x1);
  o.mode = Mode::plain;
  EXPECT_EQ(run(o, clip).choices.size(), 1u);
}

TEST_F(Coded, AnotherVideoIsRefused) {
  const std::string clip = make_clip(), small = make_small(Mode::x2, clip);
  EncodeOptions o = given(small);
  o.mode = Mode::x3;
  EXPECT_THAT(refusal(o, clip), HasSubstr("its size is x2's, not x3's"));
  o.mode = Mode::plain;
  EXPECT_THAT(refusal(o, clip), HasSubstr("its size is x2's, not plain's"));
  o.mode = Mode::automatic;
  EXPECT_THAT(refusal(o, make_clip({112, 80, 8, Chroma::c420}, 7)),
              HasSubstr("more frames than the original's 7"));
  EXPECT_THAT(refusal(o, make_clip({112, 80, 8, Chroma::c420}, 9)),
              HasSubstr("it has 8 frames, the original 9"));
  EXPECT_THAT(refusal(o, make_clip({160, 80, 8, Chroma::c420}, 8)), HasSubstr("56×40 is neither"));
  EXPECT_THAT(refusal(o, make_clip({112, 80, 10, Chroma::c420}, 8)), HasSubstr("yuv420p is not yuv420p10le"));
  EXPECT_THAT(refusal(given(path("nothing.mkv")), clip), HasSubstr("nothing.mkv: no such file"));
  EXPECT_THAT(refusal(given("/etc/hostname"), clip), HasSubstr("/etc/hostname"));
}

// Where the small video's file begins does not matter, how its frames follow each other does.
TEST_F(Coded, TimesAreThoseOfTheOriginal) {
  const std::string clip = make_clip(), small = make_small(Mode::x2, clip);
  CodedVideo late = read_packets(small);
  for (CodedPacket& packet : late.packets) packet.pts += 400, packet.dts += 400;
  write_matroska(path("late.mkv"), late, {});
  run(given(path("late.mkv")), clip);
  EXPECT_GT(seen_psnr(clip), 20);  // at the same times
  for (CodedPacket& packet : late.packets) {
    if (packet.pts > 500) packet.pts += 9;
  }
  write_matroska(path("late.mkv"), late, {});
  std::filesystem::remove(path("out.mkv"));
  EXPECT_THAT(refusal(given(path("late.mkv")), clip),
              testing::AllOf(HasSubstr("its frame "), HasSubstr(", the original's at 0.")));
}

TEST_F(Coded, OptionsOfTheCoderDoNotGoWithIt) {
  const std::string command = CAIRN_PROGRAM " video encode a.mp4 -o b.mkv --coded c.mkv ";
  for (const char* option : {"--crf 20", "--size 1000", "--target-psnr 40", "--codec x264", "--preset slow",
                             "--downscale sharp"}) {
    int status = 0;
    const std::string text = output_of(command + option + " 2>&1", status);
    EXPECT_NE(status, 0) << option;
    EXPECT_THAT(text, testing::AllOf(HasSubstr(" does not go with "), HasSubstr("--coded"))) << option;
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  }
}

}  // namespace
}  // namespace cairn::video
