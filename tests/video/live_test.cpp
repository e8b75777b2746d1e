// A stream published while it runs, and what may go wrong with streams.
#include "video/live/live.hpp"

#include <sys/wait.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "base/interrupt.hpp"
#include "cli/session_program.hpp"
#include "encode_fixture.hpp"
#include "video/encode/general_network.hpp"
#include "video/live/segment.hpp"
#include "video/publish/segment_file.hpp"

namespace cairn::video {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

size_t count(const std::string& text, const std::string& what) {
  size_t n = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

class LiveStream : public Encode {
 protected:
  // 25 frames a second; before frame `late` nothing comes for `pause` milliseconds.
  std::string make(const std::string& name, uint32_t frames,
                   const Format& format = {112, 80, 8, Chroma::c420}, uint32_t late = ~0u,
                   int64_t pause = 0) {
    VideoInfo info;
    info.format = format;
    info.time_base = {1, 1000};
    info.frame_rate = {25, 1};
    LosslessFile file(path(name), info);
    for (uint32_t i = 0; i < frames; ++i) {
      Frame frame = moving_edges(format, i);
      frame.pts = 40 * i + (i >= late ? pause : 0);
      frame.duration = 40;
      file.write(frame);
    }
    file.finish();
    return path(name);
  }
  void shell(const std::string& command) {
    int status = 0;
    output_of(command, status);
    ASSERT_EQ(status, 0) << command;
  }
  // An MPEG stream, which can be read from a pipe.
  std::string make_ts(const std::string& name, uint32_t frames, const std::string& more = "") {
    const std::string source = make(name + ".mkv", frames);
    shell(fmt::format("ffmpeg -loglevel error -y -i '{}' -c:v libx264 -preset ultrafast -g 10 {} '{}'",
                      source, more, path(name)));
    return path(name);
  }
  // A tone that begins after `from` seconds.
  static std::string tone(double from, double seconds) {
    return fmt::format("-f lavfi -i \"aevalsrc='if(gte(t,{}),sin(2764*t),0)':s=48000:d={}\"", from, seconds);
  }
  // Of a list of sound: seconds, and those at which it begins to be heard after it was not.
  double heard(const std::string& list, std::vector<double>& from) {
    int status = 0;
    const std::string pcm = output_of(
        fmt::format("ffmpeg -loglevel error -i '{}' -f s16le -ac 1 -ar 48000 -", path(list)), status);
    EXPECT_EQ(status, 0);
    const size_t samples = pcm.size() / 2;
    for (size_t i = 0, silent = 48000; i < samples; ++i) {
      int16_t sample = 0;
      std::memcpy(&sample, pcm.data() + 2 * i, 2);
      if (std::abs(sample) < 500) {
        ++silent;
        continue;
      }
      if (silent > 4800) from.push_back(static_cast<double>(i) / 48000);
      silent = 0;
    }
    return static_cast<double>(samples) / 48000;
  }
  static LiveOptions quick() {
    LiveOptions o;
    o.preset = "ultrafast";
    o.crf = 32;
    o.segment_seconds = 1;
    o.threads = 1;
    return o;
  }
  LiveReport run(const std::string& input, const LiveOptions& options, const std::string& folder = "site") {
    return live(input, path(folder), options, {});
  }
  // What a player gets of the folder's list: frames, after its segments were joined.
  uint64_t played(const std::string& site = "site", const std::string& rate = "0") {
    const std::string folder = path(site) + "/" + rate + "/", list = text_of(folder + "list.m3u8");
    std::string all = text_of(folder + "init.mp4");
    std::istringstream lines(list);
    for (std::string line; std::getline(lines, line);) {
      if (!line.empty() && line[0] != '#') all += text_of(folder + line);
    }
    std::ofstream(path("joined.mp4"), std::ios::binary) << all;
    Reader reader(path("joined.mp4"));
    Frame frame;
    uint64_t frames = 0;
    int64_t last = -1;
    for (; reader.read(frame); ++frames) {
      EXPECT_GT(frame.pts, last);
      last = frame.pts;
    }
    return frames;
  }
  static std::string refusal_of(const std::function<void()>& work) {
    try {
      work();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(LiveStream, AFileBecomesAFolderThatPlaysAndRestores) {
  const std::string input = make("ein Film ü.mkv", 60);
  LiveOptions o = quick();
  o.record = path("all.mkv");
  const LiveReport report = run(input, o, "Seite für alle");
  ASSERT_EQ(report.segments.size(), 3u);  // 25, 25 and 10 frames
  EXPECT_EQ(report.segments[2].frames, 10u);
  EXPECT_NEAR(report.seconds, 2.4, 1e-6);
  EXPECT_FALSE(report.interrupted);
  EXPECT_TRUE(report.notes.empty());
  const std::string folder = path("Seite für alle");
  EXPECT_EQ(played("Seite für alle"), 60u);
  const std::string list = text_of(folder + "/0/list.m3u8"), dash = text_of(folder + "/manifest.mpd");
  EXPECT_EQ(count(list, "#EXTINF:"), 3u);
  EXPECT_EQ(count(list, "#EXT-X-ENDLIST"), 1u);
  EXPECT_NE(dash.find("type=\"static\" mediaPresentationDuration=\"PT2.400S\""), std::string::npos) << dash;
  const auto index = nlohmann::json::parse(text_of(folder + "/video.json"));
  EXPECT_EQ(index["title"], "ein Film ü");
  EXPECT_FALSE(index.contains("live"));

  // The record restores as a page does from the files of each segment.
  const CairnFile recorded = read_cairn_file(path("all.mkv"));
  ASSERT_TRUE(recorded.restoration);
  uint64_t frame = 0;
  for (const LiveSegmentReport& told : report.segments) {
    const std::string bytes = text_of(fmt::format("{}/0/{}.cairn", folder, told.number));
    const SegmentFile segment = read_segment_file(std::as_bytes(std::span(bytes)), 112, 80, "segment");
    EXPECT_EQ(segment.durations.size(), told.frames);
    ASSERT_EQ(segment.levels.size(), 1u);
    ASSERT_EQ(segment.levels[0].runs.size(), 1u);
    const std::string file =
        text_of(fmt::format("{}/networks/{:016x}.bin", folder, segment.levels[0].networks[0]));
    const Restoration own = read_attachment(std::as_bytes(std::span(file)), "network");
    const uint32_t n = network_of(*recorded.restoration, frame);
    EXPECT_EQ(encode_network(own.networks[0], own.architectures[0]),
              encode_network(recorded.restoration->networks[n], recorded.restoration->architectures[n]));
    EXPECT_LE(told.restored, told.plain);
    frame += told.frames;
  }
  RestoredReader all(path("all.mkv"));
  Frame shown;
  for (frame = 0; all.read(shown); ++frame) {
  }
  EXPECT_EQ(frame, 60u);
}

TEST_F(LiveStream, SmallerPicturesAndNoneAreRestoredToo) {
  const std::string input = make("clip.mkv", 30);
  LiveOptions o = quick();
  o.mode = Mode::x2;
  const LiveReport two = run(input, o, "two");
  EXPECT_EQ(played("two"), 30u);
  EXPECT_EQ(nlohmann::json::parse(text_of(path("two/video.json")))["rates"][0]["width"], 56);
  EXPECT_EQ(two.segments.size(), 2u);
  o.mode = Mode::plain;
  const LiveReport plain = run(input, o, "plain");
  EXPECT_EQ(plain.networks, 0u);
  EXPECT_FALSE(std::filesystem::exists(path("plain/0/1.cairn")));
  EXPECT_EQ(played("plain"), 30u);
}

TEST_F(LiveStream, SeveralRatesAreTrainedInTurn) {
  const std::string input = make("clip.mkv", 60);
  LiveOptions o = quick();
  o.rates = {{Mode::x1, 30}, {Mode::plain, 22}, {Mode::x2, 34}};
  const LiveReport report = run(input, o);
  ASSERT_EQ(report.segments.size(), 9u);
  const auto index = nlohmann::json::parse(text_of(path("site/video.json")));
  ASSERT_EQ(index["rates"].size(), 3u);
  const std::vector<uint64_t> widths = {56, 112, 112};
  for (size_t r = 0; r < 3; ++r) {
    EXPECT_EQ(played("site", std::to_string(r)), 60u);
    EXPECT_EQ(index["rates"][r]["width"], widths[r]);
    EXPECT_EQ(index["rates"][r]["levels"].size(), r == 2 ? 0u : 1u);
    for (size_t n = 0; n < 3; ++n) {
      const LiveSegmentReport& told = report.segments[3 * n + r];
      EXPECT_EQ(told.rate, r);
      EXPECT_EQ(told.number, n + 1);
      EXPECT_EQ(told.network > 0, r != 2);
      EXPECT_EQ(std::filesystem::exists(fmt::format("{}/{}/{}.cairn", path("site"), r, n + 1)), r != 2);
      EXPECT_LE(told.restored, told.plain);
    }
  }
  // Each has its own networks, of its scale.
  const std::string bytes = text_of(path("site/0/1.cairn"));
  const SegmentFile segment = read_segment_file(std::as_bytes(std::span(bytes)), 56, 40, "segment");
  const std::string file =
      text_of(fmt::format("{}/networks/{:016x}.bin", path("site"), segment.levels[0].networks[0]));
  EXPECT_EQ(read_attachment(std::as_bytes(std::span(file)), "network").scale, 2u);
  EXPECT_EQ(count(text_of(path("site/master.m3u8")), "#EXT-X-STREAM-INF"), 3u);
  EXPECT_EQ(count(text_of(path("site/manifest.mpd")), "<Representation"), 3u);
  EXPECT_GT(index["rates"][2]["bandwidth"], index["rates"][0]["bandwidth"]);
  o.record = path("all.mkv");
  EXPECT_EQ(refusal_of([&] { run(input, o, "other"); }), "--record: of one rate, 3 are asked for");
  EXPECT_FALSE(std::filesystem::exists(path("other")));
}

TEST_F(LiveStream, TooLittleTimeLeavesTheLastNetwork) {
  Capture capture(make("clip.mkv", 25), {});
  LiveShape shape;
  shape.original = shape.small = capture.info().format;
  shape.network = parse_architecture("C8M4");
  const Network last = *general_network(shape.network, 1);
  Coder coder(shape.small, capture.info(), {Codec::x264, 34, "ultrafast", 1});
  LiveSegment segment;
  Frame frame;
  for (uint64_t i = 0; capture.read(frame); ++i) {
    coder.write(frame);
    segment.kept.push_back(i);
    segment.originals.push_back(frame.planes[0]);
  }
  segment.rates.push_back({coder.finish(), 0});
  ThreadPool pool(2, ThreadPool::Idle::sleep);
  const SegmentNetwork none = overfit_segment(
      segment, shape, &last, [] { return 0.9; }, pool);
  EXPECT_EQ(none.from, SegmentNetwork::From::last);
  EXPECT_EQ(none.steps, 0u);
  EXPECT_EQ(encode_network(none.network, shape.network), encode_network(last, shape.network));
  // So many looks at the clock, and training ends; more of them teach more.
  const auto after = [&](int looks) {
    int looked = 0;
    return overfit_segment(
        segment, shape, &last, [&] { return ++looked / static_cast<double>(looks); }, pool);
  };
  const SegmentNetwork brief = after(30), longer = after(250);
  EXPECT_NEAR(brief.steps, 28, 3);
  EXPECT_NEAR(longer.steps, 248, 3);
  EXPECT_EQ(longer.from, SegmentNetwork::From::fresh);
  EXPECT_LT(longer.restored, 0.99 * longer.plain);
  EXPECT_LE(longer.restored, brief.restored);
  EXPECT_EQ(longer.network.weight_bits, 5u);
}

TEST_F(LiveStream, SoundComesInSegmentsThatEndWithThePictures) {
  make("pictures.mkv", 60);
  shell(fmt::format(
      "cd '{}' && ffmpeg -loglevel error -y -i pictures.mkv {} -map 0 -map 1 -map 1 -c:v copy -c:a:0 aac "
      "-c:a:1 libmp3lame -metadata:s:a:1 language=deu clip.mkv",
      folder_.string(), tone(1, 2.4)));
  LiveOptions o = quick();
  o.mode = Mode::plain;
  const LiveReport report = run(path("clip.mkv"), o);
  EXPECT_EQ(played(), 60u);
  ASSERT_EQ(report.notes.size(), 1u);
  EXPECT_EQ(report.notes[0], path("clip.mkv") + ": track 2 (audio mp3): written as opus, for browsers");
  const auto index = nlohmann::json::parse(text_of(path("site/video.json")));
  ASSERT_EQ(index["sounds"].size(), 2u);
  EXPECT_EQ(index["sounds"][0]["codecs"], "mp4a.40.2");
  EXPECT_EQ(index["sounds"][1]["codecs"], "opus");
  EXPECT_EQ(index["sounds"][1]["language"], "deu");
  EXPECT_EQ(report.sound,
            index["sounds"][0]["bytes"].get<uint64_t>() + index["sounds"][1]["bytes"].get<uint64_t>());
  EXPECT_EQ(count(text_of(path("site/master.m3u8")), "TYPE=AUDIO"), 2u);
  EXPECT_EQ(count(text_of(path("site/manifest.mpd")), "contentType=\"audio\""), 2u);
  for (const auto& sound : index["sounds"]) {
    const std::string list = sound["folder"].get<std::string>() + "/list.m3u8";
    std::vector<double> from;
    EXPECT_NEAR(heard("site/" + list, from), 2.4, 0.06) << list;
    ASSERT_EQ(from.size(), 1u) << list;
    EXPECT_NEAR(from[0], 1, 0.03) << list;
    EXPECT_EQ(count(text_of(path("site/" + list)), "#EXT-X-ENDLIST"), 1u);
    // Segments of the pictures end at 1, 2 and 2.4 seconds; the first of sound may be cut where it was.
    double at = 0;
    std::vector<double> ends;
    for (const auto& run : sound["segments"]) {
      for (int n = 0; n < run[1]; ++n)
        ends.push_back(at += run[0].get<double>() / sound["timescale"].get<double>());
    }
    for (const double end : {1.0, 2.0, 2.4})
      EXPECT_LT(
          std::abs(*std::ranges::min_element(ends, {}, [&](double e) { return std::abs(e - end); }) - end),
          0.06);
    EXPECT_LE(ends.size(), 4u);
  }
  o.capture.sound = false;
  o.replace = true;
  EXPECT_EQ(run(path("clip.mkv"), o).sound, 0u);
  EXPECT_FALSE(std::filesystem::exists(path("site/sound0")));
}

TEST_F(LiveStream, SoundFollowsThePicturesClock) {
  make("pictures.mkv", 30);
  const auto piece = [&](const std::string& name, const std::string& more) {
    shell(fmt::format(
        "cd '{}' && ffmpeg -loglevel error -y -i pictures.mkv {} -map 0 -map 1 -c:v libx264 -preset "
        "ultrafast -g 10 -c:a aac {} {}",
        folder_.string(), tone(0.6, 1.2), more, name));
  };
  piece("a.ts", "");
  piece("b.ts", "-output_ts_offset 500");
  piece("c.ts", "");
  shell(fmt::format("mkfifo {}", path("pipe")));
  std::thread writer(
      [&] { shell(fmt::format("cat {0}/a.ts {0}/b.ts {0}/c.ts > {0}/pipe", folder_.string())); });
  LiveOptions o = quick();
  o.mode = Mode::plain;
  const LiveReport report = run(path("pipe"), o);
  writer.join();
  EXPECT_EQ(report.notes.size(), 2u);  // the jumps; AAC as broadcasts have it stays AAC
  const auto index = nlohmann::json::parse(text_of(path("site/video.json")));
  ASSERT_EQ(index["sounds"].size(), 1u);
  EXPECT_EQ(index["sounds"][0]["codecs"], "mp4a.40.2");
  std::vector<double> from;
  EXPECT_NEAR(heard("site/sound0/list.m3u8", from), 3.6, 0.1);
  ASSERT_EQ(from.size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(from[i], 0.6 + 1.2 * static_cast<double>(i), 0.06);
}

TEST_F(LiveStream, NoSegmentIsLongerThanItsListPromised) {
  LiveOptions o = quick();
  o.mode = Mode::plain;
  o.segment_seconds = 2;
  run(make("brief.mkv", 10), o);  // 0.4 seconds: what the list says was said before more was known
  EXPECT_EQ(count(text_of(path("site/0/list.m3u8")), "#EXT-X-TARGETDURATION:2\n"), 1u);
  o.segment_seconds = 0.6;
  o.replace = true;
  const LiveReport report = run(make("pause.mkv", 30, {112, 80, 8, Chroma::c420}, 20, 1700), o);
  EXPECT_TRUE(report.notes.empty());
  const std::string list = text_of(path("site/0/list.m3u8"));
  EXPECT_EQ(count(list, "#EXT-X-TARGETDURATION:1\n"), 1u);
  double all = 0;
  for (size_t at = list.find("#EXTINF:"); at != std::string::npos; at = list.find("#EXTINF:", at + 1)) {
    const double seconds = std::stod(list.substr(at + 8));
    EXPECT_LT(seconds, 0.65) << list;
    all += seconds;
  }
  EXPECT_NEAR(all, 2.9, 1e-3);
  EXPECT_GE(played(), 32u);  // the picture before the pause again
}

TEST_F(LiveStream, AClockThatJumpsIsJoined) {
  make_ts("a.ts", 30);
  make_ts("b.ts", 30, "-output_ts_offset 500");
  make_ts("c.ts", 30);
  shell(fmt::format("mkfifo {}", path("pipe")));
  std::thread writer(
      [&] { shell(fmt::format("cat {0}/a.ts {0}/b.ts {0}/c.ts > {0}/pipe", folder_.string())); });
  const LiveReport report = run(path("pipe"), quick());
  writer.join();
  EXPECT_EQ(played(), 90u);
  EXPECT_NEAR(report.seconds, 3.6, 0.05);
  ASSERT_EQ(report.notes.size(), 2u);
  EXPECT_EQ(report.notes[0], path("pipe") + ": its clock jumps by +498.80 s after 1.16 s: joined");
  EXPECT_EQ(report.notes[1], path("pipe") + ": its clock jumps by -501.20 s after 2.36 s: joined");
}

TEST_F(LiveStream, AStreamThatStopsEndsItWithALine) {
  make_ts("a.ts", 40);
  shell(fmt::format("mkfifo {}", path("pipe")));
  std::thread writer([&] {
    int status = 0;
    // Open until it is told to end, or for a minute.
    output_of(fmt::format("cd {} && (cat a.ts; for i in $(seq 600); do [ -e end ] && exit; sleep 0.1; done; "
                          "touch late) > pipe",
                          folder_.string()),
              status);
  });
  LiveOptions o = quick();
  o.capture.stall_seconds = 2;
  LiveReport report;
  EXPECT_EQ(refusal_of([&] { report = run(path("pipe"), o); }), "");
  EXPECT_FALSE(std::filesystem::exists(path("late")));
  std::ofstream(path("end")) << "";
  writer.join();
  ASSERT_EQ(report.notes.size(), 1u);
  EXPECT_NE(report.notes[0].find(": nothing came for 2 s"), std::string::npos) << report.notes[0];
  EXPECT_GE(played(), 35u);
  EXPECT_EQ(count(text_of(path("site/0/list.m3u8")), "#EXT-X-ENDLIST"), 1u);
}

TEST_F(LiveStream, AFullDiskLeavesWhatWasPublished) {
  const std::string input = make("clip.mkv", 100, {320, 240, 8, Chroma::c420});
  const std::string command = fmt::format(
      "FULL_DISK_UNDER={1} FULL_DISK_BYTES=700000 LD_PRELOAD=" CAIRN_FULL_DISK " " CAIRN_PROGRAM
      " video live {0} -o {1} --mode plain --crf 8 --preset ultrafast --segment-seconds 1 -q 2>&1",
      input, path("site"));
  int status = 0;
  const std::string said = output_of(command, status);
  EXPECT_EQ(WEXITSTATUS(status), 1) << said;
  EXPECT_EQ(count(said, "\n"), 1u) << said;
  EXPECT_NE(said.find("cairn: cannot write " + path("site/0/")), std::string::npos) << said;
  EXPECT_NE(said.find("No space left on device"), std::string::npos) << said;
  EXPECT_EQ(played() % 25, 0u);
  EXPECT_GE(played(), 25u);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path("site"))) {
    if (entry.is_regular_file()) {
      EXPECT_FALSE(entry.path().filename().string().starts_with(".")) << entry.path();
    }
  }
}

TEST_F(LiveStream, AnInterruptEndsAPlayableFolder) {
  const std::string input = make("clip.mkv", 1500);  // a minute
  cli::Program program({"video", "live", input, "-o", path("site"), "--preset", "ultrafast",
                        "--segment-seconds", "1", "--threads", "1", "-q"});
  for (int i = 0; i < 500 && !std::filesystem::exists(path("site/0/list.m3u8")); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  program.signal(SIGINT);
  const int status = program.status();
  // 130: too busy a machine for the usual end, so that the watch ended it.
  EXPECT_TRUE(status == 0 || status == 130) << status;
  const uint64_t frames = played();
  EXPECT_GE(frames, 25u);
  EXPECT_LT(frames, 1500u);
  EXPECT_EQ(count(text_of(path("site/0/list.m3u8")), "#EXT-X-ENDLIST"), 1u);
  EXPECT_FALSE(nlohmann::json::parse(text_of(path("site/video.json"))).contains("live"));
}

TEST_F(LiveStream, MistakesAreToldInALine) {
  EXPECT_EQ(refusal_of([&] { run(path("none.mkv"), quick()); }), path("none.mkv") + ": no such file");
  std::ofstream(path("text.txt")) << "no video at all, just words";
  EXPECT_NE(refusal_of([&] { run(path("text.txt"), quick()); }).find(path("text.txt") + ": cannot be"),
            std::string::npos);
  EXPECT_EQ(refusal_of([&] { run("rtsp://127.0.0.1:9/live", quick()); }),
            "rtsp://127.0.0.1:9/live: cannot be opened: Connection refused");
  EXPECT_FALSE(std::filesystem::exists(path("site")));
  const std::string input = make("clip.mkv", 5);
  LiveOptions o = quick();
  o.train = false;
  o.network = parse_architecture("C4M1");
  EXPECT_EQ(refusal_of([&] { run(input, o, "other"); }), "--no-train: there is no general network of C4M1");
  std::filesystem::create_directories(path("mine"));
  std::ofstream(path("mine/letter.txt")) << "dear";
  EXPECT_EQ(refusal_of([&] { run(input, quick(), "mine"); }),
            path("mine") + ": it is there and no published folder");
  EXPECT_EQ(text_of(path("mine/letter.txt")), "dear");
  run(input, quick());
  EXPECT_EQ(refusal_of([&] { run(input, quick()); }),
            path("site") + ": published before (-y, --force writes over it)");
}

TEST_F(LiveStream, DamageIsPassedOverAndCounted) {
  make_ts("a.ts", 50);
  std::string bytes = text_of(path("a.ts"));
  for (size_t i = bytes.size() / 2; i < bytes.size() / 2 + 3000; ++i) bytes[i] = static_cast<char>(i * 37);
  std::ofstream(path("a.ts"), std::ios::binary) << bytes;
  const LiveReport report = run(path("a.ts"), quick());
  EXPECT_GE(played(), 25u);
  EXPECT_EQ(report.segments.size(), 2u);
}

}  // namespace
}  // namespace cairn::video
