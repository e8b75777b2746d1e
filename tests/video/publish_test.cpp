// What `video publish` writes, compared with ffmpeg's reading of it and with the videos that it was made of.
#include "video/publish/page.hpp"
#include "video/publish_fixture.hpp"

namespace cairn::video {
namespace {

TEST_F(Publish, ManifestsGiveTheFramesOfTheVideos) {
  const std::string large =
      encoded("large ß.mkv", options(Mode::x1), make_clip({112, 80, 8, Chroma::c420}, 24));
  const std::string small = encoded("small.mkv", options(Mode::x2), path("clip.mkv"));
  const PublishReport report = publish_to("site ü", {large, small});
  EXPECT_EQ(report.rates, 2u);
  EXPECT_GE(report.segments, 6u);
  const std::string of_small = frames_of("small.mkv"), of_large = frames_of("large ß.mkv");
  EXPECT_EQ(std::ranges::count(of_small, '\n'), 24);
  EXPECT_EQ(frames_of("site ü/master.m3u8", "-map 0:v:0"), of_small);
  EXPECT_EQ(frames_of("site ü/master.m3u8", "-map 0:v:1"), of_large);
  EXPECT_EQ(frames_of("site ü/manifest.mpd", "-map 0:v:0"), of_small);
  EXPECT_EQ(frames_of("site ü/manifest.mpd", "-map 0:v:1"), of_large);
  const auto json = index("site ü");
  EXPECT_EQ(json["width"], 112);
  EXPECT_EQ(json["rates"][0]["width"], 56);
  EXPECT_EQ(json["rates"][0]["scale"], 2);
  EXPECT_EQ(json["rates"][1]["scale"], 1);
  EXPECT_EQ(json["title"], "large ß");
  // Times as they were, from the first picture on.
  EXPECT_THAT(shell("ffprobe -v error -show_entries packet=pts_time -of csv=p=0 'site ü/0/list.m3u8' | sort "
                    "-n | head -6 | tr '\\n' ' '"),
              ::testing::HasSubstr("0.000000 0.040000 0.080000 0.120000 0.177000 0.217000"));
}

TEST_F(Publish, SegmentFilesNameTheNetworksOfEachFrame) {
  make_clip({112, 80, 8, Chroma::c420}, 24);
  EncodeOptions chunks = options(Mode::x2);
  chunks.chunks = 3;
  const std::string coded = encoded("chunks.mkv", chunks, path("clip.mkv"));
  publish_to("site", {coded});
  const Restoration whole = *read_cairn_file(coded).restoration;
  ASSERT_TRUE(whole.labels);
  uint64_t frame = 0;
  double seconds = 0;
  for (size_t s = 1; std::filesystem::exists(path(fmt::format("site/0/{}.cairn", s))); ++s) {
    const SegmentFile segment =
        read_segment_file(bytes(read(fmt::format("site/0/{}.cairn", s))), 56, 40, "it");
    ASSERT_EQ(segment.levels.size(), 1u);
    const SegmentLevel& level = segment.levels[0];
    for (size_t f = 0; f < segment.durations.size(); ++f, ++frame) {
      seconds +=
          static_cast<double>(segment.durations[f]) / index("site")["rates"][0]["timescale"].get<double>();
      for (uint32_t patch = 0; patch < whole.labels->columns * whole.labels->rows; ++patch) {
        const uint64_t name = level.networks[level.labels->frames[f][patch]];
        const Restoration one =
            read_attachment(bytes(read(fmt::format("site/networks/{:016x}.bin", name))), "network");
        ASSERT_EQ(one.networks[0].layers[0].codes,
                  whole.networks[network_of(whole, frame, patch)].layers[0].codes);
      }
    }
  }
  EXPECT_EQ(frame, 24u);
  EXPECT_NEAR(seconds, 0.977, 0.001);
}

TEST_F(Publish, VideosThatShareTheirSmallVideoAreOneRateWithSmallerNetworks) {
  make_clip({112, 80, 8, Chroma::c420}, 24);
  const std::string first = encoded("first.mkv", options(Mode::x2), path("clip.mkv"));
  EncodeOptions o = options(Mode::x2);
  o.network = parse_architecture("linear");
  o.coded = first;
  encode_to("second.mkv", path("clip.mkv"), o);
  publish_to("site", {path("second.mkv"), first});
  const auto json = index("site");
  ASSERT_EQ(json["rates"].size(), 1u);
  EXPECT_EQ(json["rates"][0]["levels"], (nlohmann::json{"C4M1", "linear"}));
  const SegmentFile segment = read_segment_file(bytes(read("site/0/1.cairn")), 56, 40, "it");
  ASSERT_EQ(segment.levels.size(), 2u);
  EXPECT_EQ(segment.levels[1].runs.at(0).frames, segment.durations.size());
}

TEST_F(Publish, APlainVideoIsEncodedAtItsRates) {
  const std::string clip = make_clip({112, 80, 8, Chroma::c420}, 12);
  PublishOptions o = short_segments();
  o.rates = parse_rates("x2:36,30,plain:40");
  o.encode = options(Mode::x1);
  o.networks = {"C4M1", "linear"};
  o.original = clip;
  const PublishReport report = publish_to("site", {clip}, o);
  const auto json = index("site");
  ASSERT_EQ(json["rates"].size(), 3u);
  size_t levels = 0;
  for (const auto& rate : json["rates"]) {
    levels += rate["levels"].size();
    EXPECT_GE(rate["segments"].size(), 1u);
  }
  EXPECT_EQ(levels, 4u);
  EXPECT_EQ(report.rates, 3u);
  EXPECT_GT(json["originalBytes"], 0);
  EXPECT_EQ(json["original"]["folder"], "original");  // FFV1 became H.264
  EXPECT_FALSE(std::filesystem::exists(path("site/.work")));
}

TEST_F(Publish, SoundAndSubtitlesComeAlong) {
  std::ofstream(path("s.srt")) << "1\n00:00:00,100 --> 00:00:00,300\n<b>eins</b> --> zwei\n";
  make("in.mkv",
       "FF " PICTURES " " SOUND " -f lavfi -i sine=f=300:d=0.4 -i s.srt -map 0 -map 1 -map 2 -map 3 " X264
       " -g 5 -c:a:0 aac -c:a:1 pcm_s16le -c:s srt -metadata:s:a:1 language=deu -metadata:s:s:0 language=deu "
       "IN");
  const std::string coded = encoded("coded.mkv", quick(Mode::x1), path("in.mkv"));
  const PublishReport report = publish_to("site", {coded});
  EXPECT_THAT(report.notes, ::testing::ElementsAre(::testing::HasSubstr("written as opus")));
  const auto json = index("site");
  ASSERT_EQ(json["sounds"].size(), 2u);
  EXPECT_EQ(json["sounds"][0]["codecs"], "mp4a.40.2");
  EXPECT_EQ(json["sounds"][1]["codecs"], "opus");
  EXPECT_EQ(json["sounds"][1]["language"], "deu");
  EXPECT_EQ(read("site/text0.vtt"), "WEBVTT\n\n00:00:00.100 --> 00:00:00.300\n<b>eins</b> -> zwei\n\n");
  // The same samples as in the input, but for those before the pictures.
  for (const char* track : {"0", "1"}) {
    const std::string bytes =
        shell(std::string("FF -i site/sound") + track + "/list.m3u8 -f s16le -ac 1 -ar 48000 - | wc -c");
    EXPECT_NEAR(std::stod(bytes) / 96000, 0.41, 0.04) << track;
  }
}

TEST_F(Publish, RefusalsNameTheFileAndTheReasonAndLeaveNothing) {
  make_clip({112, 80, 8, Chroma::c420}, 8);
  const std::string good = encoded("good.mkv", options(Mode::x2), path("clip.mkv"));
  EncodeOptions o = options(Mode::x1);
  o.codec = Codec::x265;
  EXPECT_THAT(publish_refusal("site", {encoded("hevc.mkv", o, path("clip.mkv"))}),
              ::testing::AllOf(::testing::HasSubstr("hevc.mkv: its video is hevc"),
                               ::testing::HasSubstr("AV1 and H.264")));
  o = options(Mode::x2);
  o.network = parse_architecture("C4M1T3");
  EXPECT_THAT(publish_refusal("site", {encoded("three.mkv", o, path("clip.mkv"))}),
              ::testing::HasSubstr("three.mkv: its network is C4M1T3"));
  make("other.mkv", "FF " PICTURES " " X264 " IN");
  const std::string other = encoded("other_coded.mkv", quick(Mode::x1), path("other.mkv"));
  EXPECT_THAT(publish_refusal("site", {good, other}), ::testing::HasSubstr("not of one original"));
  std::filesystem::create_directories(path("mine"));
  std::ofstream(path("mine/letter.txt")) << "dear";
  PublishOptions replace = short_segments();
  replace.replace = true;
  EXPECT_THAT(publish_refusal("mine", {good}, replace), ::testing::HasSubstr("holds other things"));
  EXPECT_EQ(read("mine/letter.txt"), "dear");
  EXPECT_THAT(publish_refusal("good.mkv", {good}), ::testing::HasSubstr("no folder"));
  EXPECT_THAT(publish_refusal("no/where", {good}), ::testing::HasSubstr("No such file"));
  publish_to("site", {good});
  EXPECT_THAT(publish_refusal("site", {good}), ::testing::HasSubstr("--force"));
  publish_to("site/", {good}, replace);
  EXPECT_TRUE(std::filesystem::exists(path("site/index.html")));
  for (const char* text : {"", "x5:3", "70", "x2:", "35,,40", "auto:3"})
    EXPECT_THROW(parse_rates(text), Error) << text;
}

TEST_F(Publish, AFullDiskLeavesNothing) {
  make_clip({112, 80, 8, Chroma::c420}, 24);
  const std::string good = encoded("good.mkv", options(Mode::x1), path("clip.mkv"));
  int status = 0;
  // No file may grow beyond 4 KiB: what a full disk does to writes.
  const std::string text =
      output_of("bash -c 'trap \"\" XFSZ; ulimit -f 4; " CAIRN_PROGRAM " video publish " + good + " -o " +
                    path("site") + " --segment-seconds 0.5' 2>&1",
                status);
  EXPECT_NE(status, 0);
  EXPECT_THAT(text,
              ::testing::AllOf(::testing::HasSubstr("site/"), ::testing::HasSubstr("cannot be written")));
  for (const auto& entry : std::filesystem::directory_iterator(folder_))
    EXPECT_EQ(entry.path().filename().string().find("site"), std::string::npos) << entry.path();
}

TEST_F(Publish, DamagedSegmentFilesAreRefused) {
  SegmentFile segment;
  segment.durations = {640, 640, 1280};
  segment.levels.push_back({{1, 2}, std::nullopt, {{2, 0}, {1, 1}}});
  const std::vector<std::byte> good = write_segment_file(segment);
  EXPECT_EQ(read_segment_file(good, 56, 40, "it").levels[0].runs[1].network, 1u);
  for (size_t length = 0; length < good.size(); ++length)
    EXPECT_THROW(read_segment_file(std::span(good).first(length), 56, 40, "it"), Error) << length;
  for (size_t at = 0; at < good.size(); ++at) {
    std::vector<std::byte> bad = good;
    bad[at] ^= std::byte{4};
    EXPECT_THROW(read_segment_file(bad, 56, 40, "it"), Error) << at;
  }
}

TEST(PublishPage, IsSmallAndWithoutInlineCode) {
  size_t all = 0;
  for (const PageFile& file : page_files()) {
    all += file.content.size();
    if (file.path != "index.html") continue;
    EXPECT_NE(file.content.find("default-src 'none'"), std::string_view::npos);
    EXPECT_EQ(file.content.find("unsafe"), std::string_view::npos);
    EXPECT_EQ(file.content.find("style="), std::string_view::npos);
    EXPECT_EQ(file.content.find("<script>"), std::string_view::npos);
  }
  EXPECT_LT(all, 60000u);
}

}  // namespace
}  // namespace cairn::video
