// A tiny clip encoded in each mode, seconds of training included, then decoded and compared as the commands
// do.
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "video/encode/general_network.hpp"
#include "video/encode_fixture.hpp"

namespace cairn::video {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

TEST_F(Encode, PlainIsAnOrdinaryVideo) {
  const std::string clip = make_clip();
  const EncodeReport report = run(options(Mode::plain), clip);
  EXPECT_EQ(report.result.bytes, report.video);
  EXPECT_FALSE(read_cairn_file(path("out.mkv")).restoration);
  EXPECT_EQ(count_bytes(path("out.mkv")).video, report.video);
  EXPECT_NEAR(seen_psnr(clip), report.result.psnr, 1e-6);
}

TEST_F(Encode, NetworksGainWhatTheReportSays) {
  const std::string clip = make_clip();
  for (const Mode mode : {Mode::x1, Mode::x2, Mode::x3}) {
    EncodeOptions o = options(mode);
    o.chroma = mode == Mode::x2;
    const EncodeReport report = run(o, clip);
    const FileBytes bytes = count_bytes(path("out.mkv"));
    EXPECT_EQ(bytes.networks, report.networks);
    EXPECT_EQ(bytes.picture(), report.result.bytes);
    EXPECT_EQ(bytes.video + bytes.networks + bytes.labels + bytes.header + bytes.container(), bytes.file);
    EXPECT_NEAR(seen_psnr(clip), report.result.psnr, 1e-6) << name(mode);
    EXPECT_GT(report.result.psnr, report.bicubic_psnr + (mode == Mode::x1 ? 0.02 : 0.5)) << name(mode);
    EXPECT_EQ(read_cairn_file(path("out.mkv")).restoration->chroma.has_value(), o.chroma);
  }
}

TEST_F(Encode, TheSameTwice) {
  const std::string clip = make_clip();
  run(options(Mode::x2), clip);
  const auto bytes = [&] {
    std::ifstream in(path("out.mkv"), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const std::string first = bytes();
  run(options(Mode::x2), clip);
  EXPECT_EQ(first, bytes());
}

TEST_F(Encode, ChunksHaveNetworksAndLabels) {
  const std::string clip = make_clip({224, 160, 8, Chroma::c420}, 4);
  EncodeOptions o = options(Mode::x2);
  o.chunks = 2;
  o.train_steps = 60;
  const EncodeReport report = run(o, clip);
  const CairnFile file = read_cairn_file(path("out.mkv"));
  ASSERT_EQ(file.restoration->networks.size(), 2u);
  ASSERT_TRUE(file.restoration->labels);
  EXPECT_EQ(file.restoration->labels->frames.size(), 4u);
  EXPECT_GT(report.labels, 0u);
  EXPECT_NEAR(seen_psnr(clip), report.result.psnr, 1e-6);
  o.chunks = 1;
  o.jstdo = true;
  EXPECT_EQ(run(o, clip).labels, 0u);
  EXPECT_EQ(read_cairn_file(path("out.mkv")).restoration->networks.size(), 1u);
}

// Two scenes in turn, of which the second comes back: each has a network of its own, the second coded as what
// differs from the first.
TEST_F(Encode, ScenesThatLookAlikeShareANetwork) {
  const Format format{112, 80, 8, Chroma::c420};
  VideoInfo info;
  info.format = format;
  info.time_base = {1, 1000};
  info.frame_rate = {25, 1};
  LosslessFile file(path("clip.mkv"), info);
  for (uint32_t i = 0; i < 48; ++i) {
    Frame frame = moving_edges(format, i % 12);
    frame.pts = 40 * i;
    frame.duration = 40;
    Plane& luma = frame.planes[0];
    for (uint32_t y = 0; i / 12 % 2 == 1 && y < luma.height; ++y) {
      for (uint32_t x = 0; x < luma.width;
           ++x)  // dark stripes that bend what the first scene's network learns
        luma.row(y)[x] = static_cast<uint16_t>(luma.row(y)[x] / 4 + ((x + i) % 5 < 2 ? 20 : 0));
    }
    file.write(frame);
  }
  file.finish();
  EncodeOptions o = options(Mode::x2);
  o.crf = 12;
  o.train_steps = 200;
  const EncodeReport one = [&] {
    EncodeOptions without = o;
    without.scenes = 0;
    return run(without, path("clip.mkv"));
  }();
  EXPECT_EQ(one.scene_networks, 0u);
  const EncodeReport report = run(o, path("clip.mkv"));
  EXPECT_EQ(report.scenes, 4u);
  ASSERT_GE(report.scene_networks, 1u);
  EXPECT_GT(report.result.psnr, one.result.psnr);
  EXPECT_NEAR(seen_psnr(path("clip.mkv")), report.result.psnr, 1e-6);
  const CairnFile made = read_cairn_file(path("out.mkv"));
  const Restoration& r = *made.restoration;
  EXPECT_EQ(made.sizes.version, 2u);
  EXPECT_EQ(r.networks.size(), report.scene_networks + 1);
  EXPECT_GE(r.bases[1], 0);
  EXPECT_LT(made.sizes.each[1], made.sizes.each[0]);
  EXPECT_EQ(network_of(r, 0), network_of(r, 24));
  EXPECT_EQ(network_of(r, 12), network_of(r, 36));
  EXPECT_NE(network_of(r, 0), network_of(r, 12));
  o.size = report.result.bytes - 1;  // a budget is kept
  o.crf.reset();
  EXPECT_LE(run(o, path("clip.mkv")).result.bytes, *o.size);
}

// A few steps from a network that another video trained lead further than from random weights.
TEST_F(Encode, AGeneralNetworkIsAStart) {
  const std::string clip = make_clip();
  EncodeOptions o = options(Mode::x2);
  o.network = parse_architecture("C8M4");
  o.train_steps = 20;
  o.start = Start::random;
  const double random = run(o, clip).result.psnr;
  o.start = Start::automatic;
  const double automatic = run(o, clip).result.psnr;
  o.start = Start::general;
  EXPECT_EQ(run(o, clip).result.psnr, automatic);
  EXPECT_GT(automatic, random + 0.05);
  for (uint32_t scale = 1; scale <= kMaxScale; ++scale) {
    const Network* general = general_network(o.network, scale);
    ASSERT_NE(general, nullptr);
    EXPECT_EQ(general->scale, scale);
    EXPECT_EQ(general, &scoring_network(scale));
    EXPECT_EQ(general_network(parse_architecture("C8M3"), scale), nullptr);
  }
}

TEST_F(Encode, TheFilterThatMakesItSmallIsChosenByMeasure) {
  const std::string clip = make_clip();
  EncodeOptions o = options(Mode::x2);
  o.train_steps = 5;
  const auto with = [&](std::optional<Filter> filter) {
    o.downscale = filter;
    return run(o, clip);
  };
  const EncodeReport soft = with(Filter::soft), bicubic = with(Filter::bicubic),
                     lanczos = with(Filter::lanczos), sharp = with(Filter::sharp),
                     chosen = with(std::nullopt);
  EXPECT_LT(soft.bicubic_psnr, bicubic.bicubic_psnr);
  EXPECT_GT(sharp.bicubic_psnr, bicubic.bicubic_psnr);
  const EncodeReport& expected = chosen.result.downscale == Filter::sharp ? sharp : lanczos;
  const EncodeReport& other = chosen.result.downscale == Filter::sharp ? lanczos : sharp;
  EXPECT_EQ(chosen.result.psnr, expected.result.psnr);
  EXPECT_EQ(chosen.video, expected.video);
  EXPECT_GE(expected.bicubic_psnr - 3.5 * std::log(static_cast<double>(expected.video)),
            other.bicubic_psnr - 3.5 * std::log(static_cast<double>(other.video)));
}

TEST_F(Encode, TheAutomaticChoiceIsTheBestMeasured) {
  const std::string clip = make_clip();
  const EncodeReport report = run(options(Mode::automatic), clip);
  ASSERT_GE(report.choices.size(), 2u);
  EXPECT_EQ(report.choices[0].mode, Mode::plain);
  EXPECT_GE(report.result.advantage, 0.0);
  for (const Choice& choice : report.choices) EXPECT_LE(choice.advantage, report.result.advantage);
  EXPECT_NEAR(seen_psnr(clip), report.result.psnr, 1e-6);
}

TEST_F(Encode, SizesAndQualitiesAreKept) {
  const std::string clip = make_clip();
  EncodeOptions o = options(Mode::plain);
  o.crf.reset();
  o.target_psnr = 36;
  const EncodeReport good = run(o, clip);
  EXPECT_GE(good.result.psnr, 36);
  EXPECT_LT(good.result.psnr, 37);
  o.target_psnr.reset();
  o.size = good.result.bytes;
  const EncodeReport small = run(o, clip);
  EXPECT_LE(small.result.bytes, good.result.bytes);
  EXPECT_GT(small.result.psnr, 35);
  o.size = 200;
  fs::remove(path("out.mkv"));
  EXPECT_THAT(refusal(o, clip), HasSubstr("cannot be made 200 bytes small"));
}

TEST_F(Encode, OddSizesAndTenBits) {
  for (const Format& format : {Format{99, 61, 8, Chroma::c420}, Format{96, 64, 10, Chroma::c420}}) {
    const std::string clip = make_clip(format, 4);
    for (const Mode mode : {Mode::plain, Mode::x2}) {
      EncodeOptions o = options(mode);
      o.train_steps = 30;
      const EncodeReport report = run(o, clip);
      EXPECT_NEAR(seen_psnr(clip), report.result.psnr, 1e-6) << format.width;
      EXPECT_GT(report.result.psnr, 18);
    }
  }
}

TEST_F(Encode, BadInputIsNamed) {
  EXPECT_THAT(refusal(options(Mode::x2), path("nothing.mp4")), HasSubstr("nothing.mp4: no such file"));
  std::ofstream(path("text.mp4")) << "this is no video, by far not one";
  EXPECT_THAT(refusal(options(Mode::x2), path("text.mp4")), HasSubstr("not a video"));
  const std::string clip = make_clip();
  fs::resize_file(clip, fs::file_size(clip) / 2);
  EXPECT_THAT(refusal(options(Mode::x2), clip), HasSubstr("clip.mkv"));
}

TEST_F(Encode, AFullDiskLeavesNothing) {
  const std::string clip = make_clip();
  ThreadPool pool(2, ThreadPool::Idle::sleep);
  try {
    encode(clip, "/dev/full", options(Mode::plain), {}, pool);
    FAIL() << "a full device took a file";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_THAT(error.what(), HasSubstr("/dev/full"));
  }
}

// What scripts rely on: encode, inspect, decode and compare as programs.
TEST_F(Encode, TheRoundTripOfTheCommands) {
  const std::string clip = make_clip(), out = path("out.mkv");
  const std::string cairn = CAIRN_PROGRAM " video ";
  int status = 0;
  const auto encoded = nlohmann::json::parse(output_of(
      cairn + "encode " + clip + " -o " + out +
          " --mode x2 --codec x264 --crf 28 --network C4M1 --weight-bits 5 --train-steps 150 --json --quiet",
      status));
  ASSERT_EQ(status, 0);
  const auto inspected = nlohmann::json::parse(output_of(cairn + "inspect " + out + " --json", status));
  ASSERT_EQ(status, 0);
  EXPECT_EQ(inspected["bytes"]["networks"], encoded["bytes"]["networks"]);
  EXPECT_EQ(inspected["networks"][0]["name"], "C4M1");
  const std::string y4m = output_of(cairn + "decode " + out + " -o -", status);
  ASSERT_EQ(status, 0);
  EXPECT_THAT(y4m.substr(0, 60), HasSubstr("YUV4MPEG2 W112 H80"));
  EXPECT_GE(y4m.size(), 8u * (112 * 80 * 3 / 2 + 6));
  const auto compared =
      nlohmann::json::parse(output_of(cairn + "compare " + clip + " " + out + " --json", status));
  ASSERT_EQ(status, 0);
  EXPECT_EQ(compared["bytes"]["total"], encoded["bytes"]["total"]);
  EXPECT_NEAR(compared["psnr_y"].get<double>(), encoded["psnr_y"].get<double>(), 1e-3);
  EXPECT_GT(compared["psnr_y"].get<double>(), compared["lanczos"]["psnr_y"].get<double>());
}

// docs/cli.md holds every command's --help word for word (tools/make_cli_docs.py puts it there).
TEST_F(Encode, DocsHoldTheHelp) {
  std::ifstream in(CAIRN_TEST_DATA "/../../docs/cli.md");
  const std::string page(std::istreambuf_iterator<char>(in), {});
  for (const std::string command : {"encode", "inspect", "decode", "compare", "play"}) {
    int status = 0;
    std::istringstream help(output_of(CAIRN_PROGRAM " video " + command + " --help", status));
    ASSERT_EQ(status, 0);
    for (std::string line; std::getline(help, line);) {
      line.erase(line.find_last_not_of(' ') + 1);
      EXPECT_NE(page.find(line), std::string::npos)
          << "docs/cli.md lacks, under video " << command << ": " << line;
    }
  }
}

TEST_F(Encode, CommandsRefuseInOneLine) {
  int status = 0;
  const std::string cairn = CAIRN_PROGRAM " video ";
  for (const char* arguments :
       {"encode a.mp4 -o b.mkv --mode x9", "encode a.mp4 -o b.mkv --network D8",
        "encode a.mp4 -o b.mkv --codec h264", "encode a.mp4 -o b.mkv --crf 20 --size 100",
        "encode a.mp4 -o b.mkv --jstdo --chunks 2", "encode a.mp4 -o b.mkv --jstdo --no-jstdo",
        "inspect nothing.mkv", "nonsense"}) {
    const std::string text = output_of(cairn + arguments + " 2>&1", status);
    EXPECT_NE(status, 0) << arguments;
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
    EXPECT_THAT(text, testing::StartsWith("cairn: ")) << arguments;
  }
  const std::string text = output_of("CAIRN_LIB=/nowhere " CAIRN_PROGRAM " video --help", status);
  EXPECT_EQ(status, 0) << text;  // the program's own folder comes after it
}

}  // namespace
}  // namespace cairn::video
