// What can go wrong around an encoding: each is told in one line, and leaves nothing half-made.
#include <csignal>

#include "base/interrupt.hpp"
#include "base/temporary_folder.hpp"
#include "video/decode.hpp"
#include "video/encode_fixture.hpp"
#include "video/libav.hpp"
#include "video/picture.hpp"
#include "video/y4m.hpp"

// libx265 3.5 does not free the copies of its own parameters; the leak sanitizer asks here what to pass over.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libx265.so";
}

namespace cairn::video {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class BadInput : public Encode {
 protected:
  std::string bytes(const std::string& name) const { return cairn::testing::read_file(path(name)); }
  void write_bytes(const std::string& name, const std::string& content) const {
    cairn::testing::write_file(path(name), content);
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_)) names.push_back(entry.path().filename());
    return names;
  }
};

// QuickTime takes sound as big-endian floats, Matroska does not.
void write_quicktime(const std::string& file) {
  AVFormatContext* raw = nullptr;
  ASSERT_GE(avformat_alloc_output_context2(&raw, nullptr, "mov", file.c_str()), 0);
  ASSERT_GE(avio_open(&raw->pb, file.c_str(), AVIO_FLAG_WRITE), 0);
  AVCodecParameters& video = *avformat_new_stream(raw, nullptr)->codecpar;
  video.codec_type = AVMEDIA_TYPE_VIDEO;
  video.codec_id = AV_CODEC_ID_RAWVIDEO;
  video.codec_tag = MKTAG('2', 'v', 'u', 'y');
  video.format = AV_PIX_FMT_UYVY422;
  video.width = 32;
  video.height = 32;
  AVCodecParameters& audio = *avformat_new_stream(raw, nullptr)->codecpar;
  audio.codec_type = AVMEDIA_TYPE_AUDIO;
  audio.codec_id = AV_CODEC_ID_PCM_F32BE;
  audio.sample_rate = 8000;
  audio.format = AV_SAMPLE_FMT_FLT;
  audio.bits_per_coded_sample = 32;
  audio.block_align = 4;
  av_channel_layout_default(&audio.ch_layout, 1);
  raw->streams[0]->time_base = {1, 25};
  raw->streams[0]->avg_frame_rate = {25, 1};
  raw->streams[1]->time_base = {1, 8000};
  ASSERT_GE(avformat_write_header(raw, nullptr), 0);
  const Libav<AVPacket> packet(av_packet_alloc());
  for (int i = 0; i < 8; ++i) {
    const bool sound = i % 2 == 1;
    ASSERT_GE(av_new_packet(packet.get(), sound ? 320 * 4 : 32 * 32 * 2), 0);
    std::fill_n(packet->data, packet->size, sound ? uint8_t{0} : static_cast<uint8_t>(100 + 5 * i));
    packet->stream_index = sound ? 1 : 0;
    packet->pts = packet->dts = av_rescale_q(i / 2, {1, 25}, raw->streams[packet->stream_index]->time_base);
    packet->duration = av_rescale_q(1, {1, 25}, raw->streams[packet->stream_index]->time_base);
    packet->flags = AV_PKT_FLAG_KEY;
    ASSERT_GE(av_interleaved_write_frame(raw, packet.get()), 0);
  }
  ASSERT_GE(av_write_trailer(raw), 0);
  avio_closep(&raw->pb);
  avformat_free_context(raw);
}

// Its samples' form is changed, not a sample lost; `KindsOfFiles` compares with ffmpeg's.
TEST_F(BadInput, AudioThatMatroskaCannotHold) {
  write_quicktime(path("in.mov"));
  EncodeOptions o = options(Mode::plain);
  EXPECT_GT(run(o, path("in.mov")).video, 0u);
  EXPECT_GT(count_bytes(path("out.mkv")).audio, 0u);
  fs::remove(path("out.mkv"));
  o.keep.audio = false;
  EXPECT_GT(run(o, path("in.mov")).video, 0u);
  EXPECT_EQ(count_bytes(path("out.mkv")).audio, 0u);
}

TEST_F(BadInput, NoSvtAv1) {
  make_clip();
  int status = 0;
  const std::string text =
      output_of("ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 LD_PRELOAD=" CAIRN_NO_AV1
                " " CAIRN_PROGRAM " video encode " +
                    path("clip.mkv") + " -o " + path("out.mkv") + " --codec av1 --mode plain --quiet 2>&1",
                status);
  EXPECT_NE(status, 0);
  EXPECT_EQ(text, "cairn: this libav has no encoder libsvtav1\n");
  EXPECT_EQ(files(), std::vector<std::string>{"clip.mkv"});
}

// Ctrl-C in the first and in the second of two trainings: what comes of it in the end has the same bytes.
TEST_F(BadInput, AnInterruptedEncodingGoesOn) {
  const std::string clip = make_clip({224, 160, 8, Chroma::c420}, 3);
  EncodeOptions o = options(Mode::x2);
  o.chunks = 2;
  o.train_steps = 60;
  run(o, clip);
  const std::string whole = bytes("out.mkv");
  fs::remove(path("out.mkv"));
  o.checkpoint = path("state");
  catch_interrupts();
  ThreadPool pool(2, ThreadPool::Idle::sleep);
  size_t kept = 1;
  for (const char* where : {"network 1 of 2: step 40", "network 2 of 2: step 20"}) {
    EncodeProgress progress;
    progress.share = [&](const std::string& what, double, double) {
      if (what.find(where) != std::string::npos) std::raise(SIGINT);
    };
    try {
      encode(clip, path("out.mkv"), o, progress, pool);
      ADD_FAILURE() << "it was not interrupted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::cancelled) << error.what();
    }
    clear_interrupt();
    EXPECT_EQ(files().size(), ++kept) << where;  // the clip and each training's checkpoint
  }
  encode(clip, path("out.mkv"), o, {}, pool);
  EXPECT_TRUE(bytes("out.mkv") == whole);
  EXPECT_THAT(files(), ::testing::UnorderedElementsAre("clip.mkv", "out.mkv"));
}

// A disk that is full after some kilobytes, as far as the program can tell.
TEST_F(BadInput, ADiskThatFillsUp) {
  make_clip();
  for (const char* to : {"out.y4m", "out.mkv"}) {
    int status = 0;
    const std::string text =
        output_of("bash -c \"trap '' XFSZ; ulimit -f 16; exec " CAIRN_PROGRAM " video decode " +
                      path("clip.mkv") + " -o " + path(to) + " --quiet\" 2>&1",
                  status);
    EXPECT_NE(status, 0);
    EXPECT_THAT(text, HasSubstr(path(to)));
    EXPECT_THAT(text, HasSubstr("File too large"));
    EXPECT_EQ(files(), std::vector<std::string>{"clip.mkv"});
  }
}

TEST_F(BadInput, NoFramesAndNoVideoTrack) {
  VideoInfo info;
  info.format = {32, 32, 8, Chroma::c420};
  write_bytes("empty.y4m", y4m_header(info));
  EXPECT_THAT(refusal(options(Mode::x2), path("empty.y4m")), StartsWith(path("empty.y4m")));
  const std::string header(
      "RIFF\x24\x20\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0"
      "data\0\x20\0\0",
      44);
  write_bytes("sound.wav", header + std::string(8192, '\0'));
  EXPECT_EQ(refusal(options(Mode::x2), path("sound.wav")), path("sound.wav") + ": it has no video track");
}

TEST_F(BadInput, OnePixelAndOddSizes) {
  for (const Format& format : {Format{1, 1, 8, Chroma::c420}, Format{3, 1, 8, Chroma::c420},
                               Format{1, 9, 10, Chroma::c422}, Format{17, 5, 8, Chroma::c444}}) {
    const std::string clip = make_clip(format, 3);
    for (const Mode mode : {Mode::plain, Mode::x1, Mode::x4, Mode::automatic}) {
      EncodeOptions o = options(mode);
      o.train_steps = 5;
      const EncodeReport report = run(o, clip);
      const double seen = seen_psnr(clip);
      EXPECT_TRUE(seen >= 99 || std::abs(seen - report.result.psnr) < 1e-6)
          << format.width << " " << name(mode) << " " << seen << " " << report.result.psnr;
      decode(path("out.mkv"), path("pictures/"));
      EXPECT_EQ(Reader(path("pictures/00000001.png")).info().format.width, format.width);
    }
  }
}

TEST_F(BadInput, SizesThatAnEncoderDoesNotTake) {
  EncodeOptions o = options(Mode::plain);
  o.codec = Codec::x265;
  EXPECT_EQ(refusal(o, make_clip({50, 34, 8, Chroma::c420}, 2)),
            "libx265: 50×34 is too small for it (64 at least; x264 takes any size)");
  // What is too small for it only when scaled down is not tried.
  o.mode = Mode::automatic;
  const std::string clip = make_clip({112, 80, 8, Chroma::c420}, 4);
  for (const Choice& choice : run(o, clip).choices) EXPECT_LE(choice.mode, Mode::x1);
}

// 10 bits, full range, BT.601: the file says so, and what comes out of it as well.
TEST_F(BadInput, ColoursAndDepthAreKept) {
  const Colour colour{6, 6, 6, 2, 1};
  for (const Codec codec : {Codec::x264, Codec::x265}) {
    for (const uint32_t bits : {8u, 10u}) {
      const std::string clip = make_clip({128, 128, bits, Chroma::c420}, 4, colour);
      for (const Mode mode : {Mode::plain, Mode::x2}) {
        EncodeOptions o = options(mode);
        o.codec = codec;
        o.train_steps = 5;
        run(o, clip);
        RestoredReader reader(path("out.mkv"));
        Frame frame;
        ASSERT_TRUE(reader.read(frame));
        EXPECT_EQ(frame.format, (Format{128, 128, bits, Chroma::c420}));
        EXPECT_EQ(reader.info().colour.matrix, 6) << name(codec) << name(mode);
        EXPECT_EQ(reader.info().colour.primaries, 6);
        EXPECT_EQ(reader.info().colour.transfer, 6);
        EXPECT_EQ(reader.info().colour.range, 2);
      }
    }
  }
}

// What `cairn video export` says; it leaves nothing.
TEST_F(BadInput, ExportsRefuseWhatIsNotThere) {
  const std::string clip = make_clip();
  EncodeOptions o = options(Mode::x2);
  o.network = parse_architecture("C4M1T3");
  run(o, clip);
  const auto told = [&](const std::string& arguments) {
    int status = 0;
    const std::string text = output_of(
        fmt::format("cd {} && {} video export {} 2>&1", folder_.string(), CAIRN_PROGRAM, arguments), status);
    EXPECT_NE(status, 0) << arguments;
    EXPECT_THAT(files(), ::testing::UnorderedElementsAre("clip.mkv", "out.mkv")) << arguments;
    return text;
  };
  EXPECT_EQ(told("clip.mkv --mpv a.glsl"), "cairn: clip.mkv: it has no networks\n");
  EXPECT_EQ(told("out.mkv --network 1 --mpv a.glsl"), "cairn: there is no luma network 1: they are 0 … 0\n");
  EXPECT_EQ(told("out.mkv --chroma --onnx a.onnx"), "cairn: out.mkv: it has no network for chroma\n");
  EXPECT_THAT(told("out.mkv --onnx a.onnx --mpv a.glsl"),
              HasSubstr("network 0 (C4M1T3) looks at neighbouring frames"));
  EXPECT_THAT(told("out.mkv --onnx a --mpv a"), HasSubstr("a: "));
  EXPECT_THAT(told("out.mkv"), HasSubstr("--mpv or --onnx says what to write"));
  EXPECT_THAT(told("none.mkv --onnx a.onnx"), HasSubstr("none.mkv"));
}

}  // namespace
}  // namespace cairn::video
