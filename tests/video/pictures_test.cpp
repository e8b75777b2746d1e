// What files tell of their pictures: which way is up, how bright they are, how long the last one stands.
#include <fstream>

#include "video/compare.hpp"
#include "video/contents.hpp"
#include "video/files_fixture.hpp"
#include "video/matroska_head.hpp"

namespace cairn::video {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

class Pictures : public Files {
 protected:
  // MD5 of each picture of luma, as ffmpeg decodes it with its own turning.
  std::string hashes(const std::string& file) const {
    return shell("FF -i '" + file +
                 "' -map 0:v:0 -vf extractplanes=y -f framemd5 - | grep -v '^#' | awk '{print $NF}'");
  }
  double duration(const std::string& file) const {
    int status = 0;
    return std::atof(
        output_of("ffprobe -v error -show_entries format=duration -of csv=p=0 '" + file + "'", status)
            .c_str());
  }
  // How long the pictures of a file stand, its last one included.
  static std::vector<double> lengths(const std::string& file) {
    Reader reader(file);
    Frame frame;
    std::vector<double> list;
    while (reader.read(frame))
      list.push_back(static_cast<double>(frame.duration) * reader.info().time_base.value());
    return list;
  }
};

// ffmpeg turns them when it decodes; in an encoded file they lie as they were and the container tells.
TEST_F(Pictures, ATurnIsKeptAndApplied) {
  make("lies.mp4", "FF " PICTURES " " X264 " IN");
  // From FFmpeg 7 on the tag is but a tag; FFmpeg 5 does not know the flag.
  int status = 0;
  const bool new_enough =
      output_of("ffmpeg -v quiet -h full", status).find("-display_rotation") != std::string::npos;
  for (const int degrees : {90, 180, 270}) {
    const std::string input =
        make("turned.mp4",
             fmt::format(fmt::runtime(new_enough ? "FF -display_rotation:v {} -i lies.mp4 -c copy IN"
                                                 : "FF -i lies.mp4 -c copy -metadata:s:v rotate={} IN"),
                         degrees));
    const double clockwise = Reader(input).info().orientation.clockwise;
    EXPECT_EQ(std::fmod(clockwise + degrees + 360, 360), 0) << degrees;
    decode(input, path("decoded.mkv"));
    EXPECT_EQ(hashes(path("decoded.mkv")), hashes(input)) << degrees;
    for (const Mode mode : {Mode::plain, Mode::x2}) {
      EXPECT_THAT(encode_to("out.mkv", input, quick(mode)), IsEmpty());
      EXPECT_EQ(Reader(path("out.mkv")).info().orientation.clockwise, clockwise);
      const auto projections = read_matroska_head(path("out.mkv")).projections;
      ASSERT_EQ(projections.size(), 1u);
      EXPECT_EQ(projections.at(0).type, 0u);
      EXPECT_EQ(std::fmod(projections.at(0).roll - degrees, 360), 0);  // counterclockwise, as the tag counts
      decode(path("out.mkv"), path("decoded.mkv"));
      const VideoInfo stands = Reader(path("decoded.mkv")).info();
      EXPECT_EQ(stands.format.width, degrees == 180 ? 48u : 32u);
      EXPECT_EQ(stands.format.height, degrees == 180 ? 32u : 48u);
      EXPECT_TRUE(stands.orientation.upright());
      const Comparison c = compare(input, path("out.mkv"), {});
      EXPECT_GT(c.restored.psnr_y, 20) << degrees << name(mode);
      EXPECT_THAT(c.warnings, IsEmpty());
    }
  }
}

TEST_F(Pictures, EveryTurnAndMirrorMovesSamplesAsItsMatrixSays) {
  Frame frame, out;
  frame.allocate({3, 2, 8, Chroma::none});
  for (uint16_t i = 0; i < 6; ++i) frame.planes[0].samples[i] = i;
  for (int turns = 0; turns < 4; ++turns) {
    for (const int mirror : {1, -1}) {
      // (x, y) · matrix: mirrored first, then turned clockwise (y points down).
      const int c = turns == 0 ? 1 : turns == 2 ? -1 : 0, s = turns == 1 ? 1 : turns == 3 ? -1 : 0;
      const std::array<int32_t, 9> matrix = {
          mirror * c * 65536, mirror * s * 65536, 0, -s * 65536, c * 65536, 0, 0, 0, 1 << 30};
      const Orientation orientation = Orientation::of_matrix(matrix);
      EXPECT_EQ(Orientation::of_projection(orientation.yaw(), orientation.roll()), orientation);
      turn(frame, orientation, out);
      int least_x = 0, least_y = 0;
      const auto moved = [&](int x, int y) {
        return std::pair{x * mirror * c - y * s, x * mirror * s + y * c};
      };
      for (int i = 0; i < 6; ++i) {
        least_x = std::min(least_x, moved(i % 3, i / 3).first);
        least_y = std::min(least_y, moved(i % 3, i / 3).second);
      }
      for (int i = 0; i < 6; ++i) {
        const auto [x, y] = moved(i % 3, i / 3);
        EXPECT_EQ(out.planes[0].row(static_cast<uint32_t>(y - least_y))[x - least_x], i) << turns << mirror;
      }
    }
  }
}

// 4:2:2 that is turned has whole chroma.
TEST_F(Pictures, FourTwoTwoIsTurned) {
  Frame frame, out;
  frame.allocate({4, 2, 8, Chroma::c422});
  frame.planes[1].samples = {10, 20, 30, 40};
  turn(frame, {false, 90}, out);
  EXPECT_EQ(out.format, (Format{2, 4, 8, Chroma::c444}));
  EXPECT_EQ(out.planes[1].samples, (std::vector<uint16_t>{30, 10, 35, 15, 40, 20, 40, 20}));
}

TEST_F(Pictures, HdrIsKeptInTheContainerAndInTheStream) {
  const std::string input = make(
      "hdr.mkv",
      "FF -f lavfi -i testsrc=s=144x128:r=25:d=0.12 -c:v libx265 -preset ultrafast -pix_fmt yuv420p10le "
      "-vf setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc "
      "-x265-params "
      "'log-level=none:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):"
      "max-cll=1000,400' IN");
  const auto entries = [&](const std::string& file, const char* what) {
    int status = 0;
    const std::string text =
        output_of("ffprobe -v error -of json -select_streams v -read_intervals '%+#1' -show_entries " +
                      std::string(what) + " '" + file + "'",
                  status);
    return Json::parse(text);
  };
  const auto hdr = [](const Json& list) {
    std::map<std::string, double> values;
    for (const Json& data : list) {
      const std::string type = data["side_data_type"];
      if (type.find("Mastering") == std::string::npos && type.find("Content light") == std::string::npos)
        continue;
      for (const auto& [key, value] : data.items()) {
        if (key != "side_data_type") values[key] = value.is_string() ? ratio(value) : value.get<double>();
      }
    }
    return values;
  };
  const std::map<std::string, double> wanted = {
      {"red_x", 0.68},          {"red_y", 0.32},         {"green_x", 0.265},        {"green_y", 0.69},
      {"blue_x", 0.15},         {"blue_y", 0.06},        {"white_point_x", 0.3127}, {"white_point_y", 0.329},
      {"min_luminance", 0.005}, {"max_luminance", 1000}, {"max_content", 1000},     {"max_average", 400}};
  const auto expect = [&](const std::map<std::string, double>& got, const std::string& what) {
    ASSERT_EQ(got.size(), wanted.size()) << what << Json(got).dump();
    for (const auto& [key, value] : wanted)
      EXPECT_NEAR(got.at(key), value, 1e-3 * std::max(value, 0.5)) << what << " " << key;
  };
  for (const Codec codec : {Codec::x264, Codec::x265, Codec::av1}) {
    if (!available(codec)) continue;
    EncodeOptions o = quick(Mode::x2);
    o.codec = codec;
    o.mode = codec == Codec::x264 ? Mode::x2 : Mode::plain;
    if (codec == Codec::av1) o.preset = "12";
    EXPECT_THAT(encode_to("out.mkv", input, o), IsEmpty()) << name(codec);
    expect(hdr(entries(path("out.mkv"), "stream_side_data_list")["streams"][0].value("side_data_list",
                                                                                     Json::array())),
           std::string(name(codec)) + " container");
    // Without the container: what the stream itself says.
    const char* raw = codec == Codec::x264 ? "raw.h264" : codec == Codec::x265 ? "raw.hevc" : "raw.obu";
    shell("FF -i out.mkv -c copy " + std::string(raw));
    if (codec == Codec::x264) {
      // FFmpeg 5.1 does not read these of H.264: SEI messages 137 (24 bytes, green's x and y first) and 144.
      std::ifstream in(path(raw), std::ios::binary);
      const std::string stream{std::istreambuf_iterator<char>(in), {}};
      EXPECT_THAT(stream, HasSubstr("\x89\x18\x33\xc2\x86\xc4"));
      EXPECT_THAT(stream, HasSubstr("\x90\x04\x03\xe8\x01\x90"));
    } else {
      expect(
          hdr(entries(path(raw), "frame_side_data_list")["frames"][0].value("side_data_list", Json::array())),
          std::string(name(codec)) + " stream");
    }
    const auto colours = entries(path("out.mkv"), "stream=color_transfer,color_primaries")["streams"][0];
    EXPECT_EQ(colours["color_transfer"], "smpte2084");
    EXPECT_EQ(colours["color_primaries"], "bt2020");
    decode(path("out.mkv"), path("decoded.mkv"));
    expect(hdr(entries(path("decoded.mkv"), "stream_side_data_list")["streams"][0].value("side_data_list",
                                                                                         Json::array())),
           std::string(name(codec)) + " decoded");
  }
}

TEST_F(Pictures, TheLastOneStandsAsLong) {
  const std::string gif = make("long.gif", "FF -f lavfi -i testsrc=s=48x32:r=10:d=0.5 -final_delay 300 IN");
  const std::string mkv =
      make("long.mkv", "FF -i long.gif -c:v ffv1 -pix_fmt yuv420p p.mkv; FF -i long.gif -c copy IN");
  EXPECT_NEAR(lengths(gif).back(), 3.0, 1e-6);
  for (const std::string& input : {gif, mkv}) {
    const double whole = duration(input);
    EXPECT_NEAR(whole, 3.4, 0.01) << input;
    for (const Mode mode : {Mode::plain, Mode::x2}) {
      encode_to("out.mkv", input, quick(mode));
      EXPECT_NEAR(duration(path("out.mkv")), whole, 0.002) << input << name(mode);
      EXPECT_NEAR(lengths(path("out.mkv")).back(), 3.0, 0.002) << input << name(mode);
      decode(path("out.mkv"), path("decoded.mkv"));
      EXPECT_NEAR(duration(path("decoded.mkv")), whole, 0.002) << input << name(mode);
      EXPECT_NEAR(lengths(path("decoded.mkv")).back(), 3.0, 0.002) << input << name(mode);
    }
  }
}

TEST_F(Pictures, GreyIsEncoded) {
  for (const char* pixels : {"gray", "gray10le"}) {
    const std::string input =
        make("grey.mkv",
             fmt::format("FF -f lavfi -i testsrc=s=128x128:r=25:d=0.2 -c:v ffv1 -pix_fmt {} IN", pixels));
    for (const Codec codec : {Codec::x264, Codec::x265, Codec::av1}) {
      if (!available(codec)) continue;
      for (const Mode mode : {Mode::plain, Mode::x1, Mode::x2}) {
        if (mode != Mode::x1 && codec == Codec::av1) continue;
        EncodeOptions o = quick(mode);
        o.codec = codec;
        if (codec == Codec::av1) o.preset = "12";
        encode_to("out.mkv", input, o);
        decode(path("out.mkv"), path("decoded.mkv"));
        const VideoInfo made = Reader(path("decoded.mkv")).info();
        EXPECT_EQ(made.format.chroma, codec == Codec::x265 ? Chroma::none : Chroma::c420);
        EXPECT_EQ(made.colour.range, Reader(input).info().colour.range);
        EXPECT_GT(compare(input, path("out.mkv"), {}).restored.psnr_y, 20)
            << pixels << name(codec) << name(mode);
      }
    }
  }
}

TEST_F(Pictures, OfAnotherSizeAreScaled) {
  const std::string input =
      make("sizes.mpg", "FF " PICTURES
                        " -c:v mpeg2video -q:v 2 a.m2v; FF -f lavfi -i testsrc=s=64x48:r=25:d=0.4 "
                        "-c:v mpeg2video -q:v 2 b.m2v; cat a.m2v b.m2v > ab.m2v; cp ab.m2v IN");
  const std::vector<std::string> notes = encode_to("out.mkv", input, quick(Mode::plain));
  EXPECT_THAT(notes, Contains(HasSubstr("10 frames of another size (from frame 9 on, 64×48): scaled")));
  // As many as ffmpeg decodes: at the change its decoder drops one.
  EXPECT_EQ(Probe(path("out.mkv")).frames().size(), 19u);
}

// What a cairn video shows is encoded, not the small video inside.
TEST_F(Pictures, OfACairnVideoAreTheRestoredOnes) {
  const std::string input = make("in.mkv", "FF -f lavfi -i testsrc=s=96x64:r=25:d=0.2 " X264 " IN");
  encode_to("small.mkv", input, quick(Mode::x2));
  const std::vector<std::string> notes = encode_to("out.mkv", path("small.mkv"), quick(Mode::plain));
  EXPECT_THAT(notes,
              testing::ElementsAre(path("small.mkv") + ": a cairn video: its restored pictures are encoded"));
  EXPECT_EQ(Reader(path("out.mkv")).info().format.width, 96u);
  EXPECT_FALSE(read_cairn_file(path("out.mkv")).restoration);
  EXPECT_GT(compare(path("small.mkv"), path("out.mkv"), {}).restored.psnr_y, 30);
  encode_to("again.mkv", path("small.mkv"), quick(Mode::x2));
  EXPECT_EQ(read_cairn_file(path("again.mkv")).restoration->width, 96u);
}

TEST_F(Pictures, InterlacedOnesAreToldAndMarked) {
  const std::string input =
      make("fields.mpg", "FF " PICTURES " -c:v mpeg2video -flags +ildct+ilme -top 1 IN");
  const auto order = [](const std::string& file) {
    return Probe(file).first("video").value("field_order", "progressive");
  };
  EXPECT_EQ(Reader(input).info().fields, Fields::top_first);
  encode_to("out.mkv", input, quick(Mode::plain));
  EXPECT_THAT(order(path("out.mkv")), testing::AnyOf("tt", "tb"));
  decode(path("out.mkv"), path("out.y4m"));
  std::string header;
  std::ifstream y4m(path("out.y4m"));
  std::getline(y4m, header);
  EXPECT_THAT(header, HasSubstr(" It "));
  encode_to("out.mkv", input, quick(Mode::x2));
  EXPECT_EQ(order(path("out.mkv")), "progressive");
}

}  // namespace
}  // namespace cairn::video
