// What a file holds beside its pictures where ffmpeg keeps it in another form; damage; names; what is refused
// before the work.
#include <sys/stat.h>

#include "base/temporary_folder.hpp"
#include "video/audio_reader.hpp"
#include "video/compare.hpp"
#include "video/contents.hpp"
#include "video/files_fixture.hpp"

namespace cairn::video {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Beside : public Files {
 protected:
  std::string bytes(const std::string& name) const { return cairn::testing::read_file(path(name)); }
  void write_bytes(const std::string& name, const std::string& content) const {
    cairn::testing::write_file(path(name), content);
  }
  // The program's own words, both streams.
  std::string program(const std::string& arguments, int wanted_status = 0) const {
    int status = 0;
    const std::string text =
        output_of("cd '" + folder_.string() + "' && " CAIRN_PROGRAM " video " + arguments + " 2>&1", status);
    EXPECT_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : -1, wanted_status) << arguments << "\n" << text;
    return text;
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_)) names.push_back(entry.path().filename());
    std::ranges::sort(names);
    return names;
  }
};

constexpr const char* kEncode = " --codec x264 --preset ultrafast --mode plain";

TEST_F(Beside, CoversAreKept) {
  const char* with_cover = "FF " PICTURES
                           " -f lavfi -i testsrc=s=16x16:d=0.04:r=25 -map 0 -map 1 -c:v:0 libx264 "
                           "-pix_fmt:v:0 yuv420p -c:v:1 png -disposition:v:1 attached_pic IN";
  const std::string mp4 = make("cover.mp4", with_cover);
  shell("FF -i cover.mp4 -map 0:1 -c copy -f image2 cover.png");
  const std::string mkv =
      make("cover.mkv", "FF " PICTURES " " X264 " -attach cover.png -metadata:s:t mimetype=image/png IN");
  for (const std::string& input : {mp4, mkv}) {
    for (const Mode mode : {Mode::plain, Mode::x2}) {
      EXPECT_THAT(encode_to("out.mkv", input, quick(mode)), IsEmpty());
      decode(path("out.mkv"), path("decoded.mkv"));
      for (const char* name : {"out.mkv", "decoded.mkv"}) {
        int covers = 0;
        const Probe probe(path(name));
        for (const Json& stream : probe.all["streams"]) {
          covers += stream["disposition"]["attached_pic"].get<int>();
          if (stream["disposition"]["attached_pic"] == 1) {
            EXPECT_EQ(stream["tags"]["mimetype"], "image/png");
          }
        }
        EXPECT_EQ(covers, 1) << input << name;
        shell("FF -dump_attachment:t:0 /dev/null -i " + std::string(name) +
              " -map 0:v:1 -c copy -f image2 taken.png");
        EXPECT_EQ(bytes("taken.png"), bytes("cover.png")) << input << name;
      }
      // The picture that is played is not the cover.
      EXPECT_EQ(Reader(path("out.mkv")).info().format.width, mode == Mode::plain ? 48u : 24u);
    }
  }
  EncodeOptions o = quick(Mode::plain);
  o.keep.attachments = false;
  encode_to("out.mkv", mp4, o);
  EXPECT_EQ(Probe(path("out.mkv")).all["streams"].size(), 1u);
  const std::string sound = make("cover.mp3", "FF " SOUND
                                              " -f lavfi -i testsrc=s=16x16:d=0.04:r=25 -map 0 -map 1 "
                                              "-c:a libmp3lame -c:v png -disposition:v attached_pic IN");
  EXPECT_EQ(encode_refusal(sound, quick(Mode::plain)),
            sound + ": it has no video track, only a cover picture");
}

TEST_F(Beside, FontsAreKept) {
  const std::string input =
      make("fonts.mkv", "printf 'not a font' > f.ttf; FF " PICTURES " " X264
                        " -attach f.ttf -metadata:s:t mimetype=application/x-truetype-font IN");
  encode_to("out.mkv", input, quick(Mode::x2));
  decode(path("out.mkv"), path("decoded.mkv"));
  for (const char* name : {"out.mkv", "decoded.mkv"}) {
    shell("ffmpeg -nostdin -v quiet -dump_attachment:t:0 taken.ttf -y -i " + std::string(name) + "; true");
    EXPECT_EQ(bytes("taken.ttf"), "not a font") << name;
    fs::remove(path("taken.ttf"));
  }
}

// Sound that neither Matroska nor its tags of Windows know becomes Opus.
TEST_F(Beside, SoundThatCannotBeHeldIsTranscoded) {
  const std::string input = make("qt.mov", "FF " PICTURES " -f lavfi -i sine=d=0.4:r=44100 " X264
                                           " -c:a adpcm_ima_qt -ac 2 -metadata:s:a language=ita IN");
  const std::vector<std::string> notes = encode_to("out.mkv", input, quick(Mode::plain));
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_THAT(notes[0], HasSubstr("track 1 (audio adpcm_ima_qt, ita): written as opus"));
  decode(path("out.mkv"), path("decoded.mkv"));
  for (const char* name : {"out.mkv", "decoded.mkv"}) {
    const Probe probe(path(name));
    const Json sound = probe.first("audio");
    EXPECT_EQ(sound["codec_name"], "opus");
    EXPECT_EQ(sound["channels"], 2);
    EXPECT_EQ(sound["tags"]["language"], "ita");
    EXPECT_NEAR(probe.duration(), 0.42, 0.03);
    // The same sound: a sine of 440 Hz, by its zero crossings.
    const auto reader = AudioReader::open(path(name));
    ASSERT_NE(reader, nullptr);
    std::vector<int16_t> samples;
    while (reader->read(samples)) {
    }
    int crossings = 0;
    for (size_t i = 4800; i + 2 < 4800 + 2 * 9600; i += 2)
      crossings += (samples[i] < 0) != (samples[i + 2] < 0) ? 1 : 0;
    EXPECT_NEAR(crossings, 2 * 440 * 0.2, 3) << name;
  }
}

TEST_F(Beside, SpeexIsCopied) {
  const std::string input = make("speex.mkv", "FF " SOUND " -c:a libspeex -ar 16000 s.ogg; FF " PICTURES
                                              " -i s.ogg " X264 " -c:a copy -strict experimental IN");
  EXPECT_THAT(encode_to("out.mkv", input, quick(Mode::plain)), IsEmpty());
  EXPECT_EQ(Probe(path("out.mkv")).first("audio")["codec_name"], "speex");
}

TEST_F(Beside, ItIsLeftOutOnRequest) {
  const std::string input = make(
      "all.mkv",
      "printf ';FFMETADATA1\\ntitle=A\\n[CHAPTER]\\nTIMEBASE=1/1000\\nSTART=0\\nEND=200\\ntitle=One\\n' "
      "> c.txt; printf '1\\n00:00:00,040 --> 00:00:00,160\\nHello\\n' > t.srt; printf x > f.ttf; FF " PICTURES
      " " SOUND " -i t.srt -i c.txt -map 0 -map 1 -map 2 -map_metadata 3 " X264
      " -c:a aac -attach f.ttf -metadata:s:t mimetype=font/ttf -metadata:s:v language=eng IN");
  EncodeOptions o = quick(Mode::plain);
  encode_to("all_kept.mkv", input, o);
  o.keep = {false, false, false, false, false};
  EXPECT_THAT(encode_to("bare.mkv", input, o), IsEmpty());
  const Probe bare(path("bare.mkv"));
  EXPECT_EQ(bare.all["streams"].size(), 1u);
  EXPECT_EQ(bare.all["chapters"].size(), 0u);
  EXPECT_FALSE(bare.all["format"]["tags"].contains("title"));
  EXPECT_EQ(bare.first("video")["tags"]["language"], "eng");
  // The pictures cost what they cost alone, and the rest adds its own bytes, with Matroska's few for each
  // packet, track, chapter, attachment and tag.
  const FileBytes all = count_bytes(path("all_kept.mkv")), alone = count_bytes(path("bare.mkv"));
  EXPECT_EQ(all.video, alone.video);
  EXPECT_EQ(alone.audio + alone.other, 0u);
  const Probe kept(path("all_kept.mkv"));
  uint64_t payload = 0, packets = 0;
  for (const Json& packet : kept.all["packets"]) {
    if (packet["stream_index"] == 0) continue;
    payload += static_cast<uint64_t>(std::atoi(packet["size"].get<std::string>().c_str()));
    ++packets;
  }
  for (const Json& stream : kept.all["streams"]) {  // the coders' headers
    if (stream["index"] != 0) payload += stream.value("extradata_size", 0u);
  }
  EXPECT_EQ(all.audio + all.other, payload);
  EXPECT_LE(all.container(), alone.container() + 24 * packets + 1600);
  for (const char* flag : {"--no-audio", "--no-subtitles", "--no-chapters", "--no-attachments", "--no-tags"})
    EXPECT_THAT(program("encode --help"), HasSubstr(flag));
}

TEST_F(Beside, InspectTellsWhatAFileHolds) {
  const std::string input =
      make("all.mkv",
           "printf ';FFMETADATA1\\ntitle=A "
           "film\\n[CHAPTER]\\nTIMEBASE=1/1000\\nSTART=200\\nEND=400\\ntitle=Two\\n' "
           "> c.txt; printf x > f.ttf; FF " PICTURES " -itsoffset 2 " SOUND
           " -i c.txt -map 0 -map 1 -map_metadata 2 " X264
           " -vf setsar=16/11 -c:a aac -attach f.ttf "
           "-metadata:s:t mimetype=font/ttf -metadata:s:a language=ita -disposition:a forced IN");
  encode_to("out.mkv", input, quick(Mode::plain));
  const std::string text = program("inspect out.mkv");
  for (const char* line :
       {"picture     pixels of 16:11", "track       audio aac, 48000 Hz, mono, ita, forced, from 2.0 s on",
        "attachment  f.ttf, 1 bytes", "chapter     0.20 s Two", "tag         title = A film"})
    EXPECT_THAT(text, HasSubstr(line));
  const Json json = Json::parse(program("inspect out.mkv --json"));
  EXPECT_THAT(json["holds"], Contains(Json({{"kind", "tag"}, {"text", "title = A film"}})));
  EXPECT_EQ(json["bytes"]["other"], 1);
}

TEST_F(Beside, CompareWarnsWhereItDiffers) {
  const std::string input =
      make("in.mkv", "FF " PICTURES " " SOUND " " X264 " -vf setsar=16/11 -c:a aac -metadata title=A IN");
  encode_to("same.mkv", input, quick(Mode::x2));
  EXPECT_THAT(compare(input, path("same.mkv"), {}).warnings, IsEmpty());
  shell("FF -i same.mkv -map 0:v -map 0:t? -c copy -aspect 3:2 -map_metadata:g -1 less.mkv");
  const std::vector<std::string> warnings = compare(input, path("less.mkv"), {}).warnings;
  EXPECT_THAT(warnings, Contains(HasSubstr("in.mkv has the track \"audio aac, 48000 Hz, mono")));
  EXPECT_THAT(warnings, Contains(HasSubstr("in.mkv has the tag \"title = A\", ")));
  EXPECT_THAT(program("compare in.mkv less.mkv"), HasSubstr("warning: in.mkv has the tag \"title = A\""));
}

TEST_F(Beside, FilesThatEndEarlyAreToldAndTaken) {
  for (const char* name : {"whole.mkv", "whole.mp4"}) {
    const std::string input =
        make(name,
             "FF -f lavfi -i testsrc=s=48x32:r=25:d=2 -c:v libx264 -bf 0 -g 5 -pix_fmt yuv420p "
             "-movflags faststart IN");
    const std::string whole = bytes(name), part = path(std::string("part") + (name + 5));
    write_bytes(fs::path(part).filename(), whole.substr(0, whole.size() * 6 / 10));
    EncodeOptions o = quick(Mode::plain);
    EXPECT_THAT(encode_refusal(part, o), HasSubstr("(--keep-going takes what can be read)")) << name;
    EXPECT_THAT(decode_refusal(part), HasSubstr("--keep-going"));
    o.keep_going = true;
    EXPECT_THAT(encode_to("out.mkv", part, o), Contains(HasSubstr("ends early"))) << name;
    const size_t frames = Probe(path("out.mkv")).frames().size();
    EXPECT_GT(frames, 10u);
    EXPECT_LT(frames, 50u);
    DecodeOptions going;
    going.keep_going = true;
    EXPECT_THAT(decode(part, path("decoded.mkv"), going).notes, Contains(HasSubstr("ends early")));
    fs::remove(path("out.mkv"));
  }
}

TEST_F(Beside, DamageIsToldAndPassedOver) {
  // A packet that is no picture.
  const std::string input = make("good.mkv", "FF " PICTURES " -c:v mjpeg -pix_fmt yuvj420p IN");
  std::string content = bytes("good.mkv");
  size_t at = 0;
  for (int i = 0; i < 4; ++i) at = content.find("\xFF\xD8\xFF", at + 1);
  ASSERT_NE(at, std::string::npos);
  std::fill_n(content.begin() + static_cast<ptrdiff_t>(at), 600, '\x55');
  write_bytes("bad.mkv", content);
  EncodeOptions o = quick(Mode::plain);
  EXPECT_THAT(encode_refusal(path("bad.mkv"), o), HasSubstr("--keep-going"));
  o.keep_going = true;
  EXPECT_THAT(encode_to("out.mkv", path("bad.mkv"), o), Contains(HasSubstr("damaged: 1 packet lost")));
  EXPECT_EQ(Probe(path("out.mkv")).frames().size(), 9u);
  // A transport stream whose holes the decoder mends: told, not in silence.
  make("good.ts", "FF -f lavfi -i testsrc=s=96x64:r=25:d=2 -c:v mpeg2video -q:v 2 IN");
  content = bytes("good.ts");
  for (size_t p = 60; p + 1 < content.size() / 188; p += 40) content.replace(p * 188, 188, 188, '\0');
  write_bytes("holes.ts", content);
  const std::vector<std::string> notes = encode_to("out.mkv", path("holes.ts"), o);
  EXPECT_THAT(notes, Contains(HasSubstr("mended by the decoder, first after frame")));
}

TEST_F(Beside, NamesAreFiles) {
  const std::string input = make("12:30 clip.mp4", "FF " PICTURES " " X264 " file:IN");
  EXPECT_THAT(program(std::string("encode '12:30 clip.mp4' -o 'x:1.mkv'") + kEncode),
              HasSubstr("x:1.mkv: plain"));
  EXPECT_EQ(Probe(path("x:1.mkv")).frames().size(), 10u);
  program("decode 'x:1.mkv' -o 'y:1.mkv' --quiet");
  EXPECT_EQ(Probe(path("y:1.mkv")).frames().size(), 10u);
  // Standard output.
  program(std::string("encode '12:30 clip.mp4' -o - --quiet 2>words") + kEncode + " | cat > piped.mkv");
  EXPECT_EQ(bytes("piped.mkv"), bytes("x:1.mkv"));
  EXPECT_THAT(bytes("words"), HasSubstr("-: plain"));
  EXPECT_FALSE(fs::exists(path("-")));
  // A suffix that lies.
  for (const char* name : {"out.mp4", "out.webm", "out.avi"}) {
    const std::string text = program(std::string("encode '12:30 clip.mp4' -o ") + name + kEncode, 2);
    EXPECT_THAT(text, HasSubstr(std::string(name) + ": cairn writes Matroska, and this name promises"));
    EXPECT_FALSE(fs::exists(path(name)));
  }
}

TEST_F(Beside, WhatCannotBeReadTwiceIsRefused) {
  make("in.mp4", "FF " PICTURES " " X264 " IN");
  ASSERT_EQ(mkfifo(path("pipe").c_str(), 0600), 0);
  for (const char* input : {"pipe", "/dev/stdin", "-"}) {
    EXPECT_THAT(program(std::string("encode ") + input + " -o out.mkv" + kEncode + " < /dev/null", 2),
                HasSubstr(": a pipe: cairn needs a file that can be read again"));
  }
  program(std::string("encode /dev/stdin -o out.mkv --quiet < in.mp4") + kEncode);
}

// Nothing is read that need not be, nothing is left.
TEST_F(Beside, WhatCanBeRefusedIsRefusedBeforeTheWork) {
  const std::string input = make("in.mp4", "FF " PICTURES " " SOUND " " X264 " -c:a aac IN");
  fs::create_hard_link(input, path("hard.mkv"));
  fs::create_symlink(input, path("soft.mkv"));
  const std::vector<std::string> before = files();
  int shares = 0;
  const auto refusal = [&](const EncodeOptions& o, const std::string& output) -> std::string {
    EncodeProgress progress;
    progress.share = [&](const std::string&, double, double) { ++shares; };
    progress.line = [&](const std::string&) { ++shares; };
    ThreadPool pool(2, ThreadPool::Idle::sleep);
    try {
      encode(input, output, o, progress, pool);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EncodeOptions o = quick(Mode::x2);
  EXPECT_THAT(refusal(o, path("hard.mkv")), HasSubstr(": is an input, "));
  EXPECT_THAT(refusal(o, path("soft.mkv")), HasSubstr(": is an input, "));
  EXPECT_THAT(refusal(o, path("absent/out.mkv")),
              ::testing::AllOf(HasSubstr("cannot write "), HasSubstr("absent/out.mkv: No such file")));
  EXPECT_THAT(refusal(o, path("out.mp4")), HasSubstr("promises mp4"));
  o.preset = "bogus";
  EXPECT_EQ(refusal(o, path("out.mkv")), "--preset bogus: libx264 does not know it");
  o = quick(Mode::plain);
  o.codec = Codec::x265;
  EXPECT_THAT(refusal(o, path("out.mkv")), HasSubstr("48×32 is too small for it"));
  o = quick(Mode::x2);
  o.checkpoint = path("absent/state");
  EXPECT_THAT(refusal(o, path("out.mkv")), HasSubstr("absent/state: No such file"));
  EXPECT_EQ(shares, 0);
  EXPECT_EQ(files(), before);
}

// For the player: sound that begins later waits, and the file's start is zero.
TEST_F(Beside, SoundKeepsItsPlace) {
  const std::string input = make(
      "late.mkv", "FF " PICTURES " -itsoffset 12 " SOUND " " X264 " -c:a pcm_s16le -output_ts_offset 500 IN");
  const auto reader = AudioReader::open(input);
  ASSERT_NE(reader, nullptr);
  std::vector<int16_t> samples;
  while (reader->read(samples)) {
  }
  const auto sounds = [&](double from, double to) {
    return std::any_of(samples.begin() + static_cast<ptrdiff_t>(from * 96000),
                       samples.begin() + static_cast<ptrdiff_t>(to * 96000),
                       [](int16_t v) { return std::abs(v) > 500; });
  };
  EXPECT_NEAR(static_cast<double>(samples.size()) / 96000, 12.4, 0.01);
  EXPECT_FALSE(sounds(0, 11.99));
  EXPECT_TRUE(sounds(12.01, 12.1));
  Reader pictures(input);
  Frame frame;
  ASSERT_TRUE(pictures.read(frame));
  EXPECT_EQ(frame.pts, 0);
}

}  // namespace
}  // namespace cairn::video
