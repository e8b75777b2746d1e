// Files as people have them, each encoded plainly and at half its size and decoded again: what comes of it
// has what ffmpeg keeps with `-map 0 -c copy -c:v libx264`. The inputs are made by Debian's ffmpeg.
#include "video/files_fixture.hpp"

namespace cairn::video {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kText =
    "printf '1\\n00:00:00,040 --> 00:00:00,160\\nHello\\n\\n2\\n00:00:00,200 --> 00:00:00,360\\nthere\\n' > "
    "t.srt; ";
constexpr const char* kChapters =
    "printf ';FFMETADATA1\\ntitle=A "
    "film\\nartist=Somebody\\n[CHAPTER]\\nTIMEBASE=1/1000\\nSTART=0\\nEND=200\\n"
    "title=One\\n[CHAPTER]\\nTIMEBASE=1/1000\\nSTART=200\\nEND=400\\ntitle=Two\\n' > c.txt; ";

struct Kind {
  const char* name;                     // of the input
  std::string make;                     // shell commands; FF stands for ffmpeg, IN for the input
  std::vector<const char*> notes = {};  // what each line that tells of a change contains
  const char* reference =
      "-map 0 -c copy -c:v:0 libx264 -preset ultrafast -fps_mode passthrough -enc_time_base -1";
  Tolerance tolerance = {};
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> list = {
      {"plain.mp4", "FF " PICTURES " " SOUND " " X264 " -c:a aac IN"},
      {"reordered.mp4", "FF " PICTURES " " SOUND " -c:v libx264 -bf 3 -pix_fmt yuv420p -c:a aac IN"},
      {"plain.avi", "FF " PICTURES " " SOUND " -c:v mpeg4 -c:a libmp3lame IN"},
      {"plain.flv", "FF " PICTURES " " SOUND " -c:v flv -c:a libmp3lame -ar 44100 IN"},
      // Each copy of Opus moves by its priming of 6.5 ms, ffmpeg's too: decode's is the second.
      {"plain.webm",
       "FF " PICTURES " " SOUND " -c:v libvpx -c:a libopus IN",
       {},
       "-map 0 -c copy -c:v:0 libx264 -preset ultrafast -fps_mode passthrough -enc_time_base -1",
       {.time = 0.0086}},
      {"plain.ogv", "FF " PICTURES " " SOUND " -c:v libtheora -c:a libvorbis IN"},
      // The shape of pixels.
      {"pixels.mp4", "FF " PICTURES " " X264 " -vf setsar=16/11 IN"},
      {"pixels.mkv", "FF " PICTURES " " X264 " -vf setsar=16/11 IN"},
      {"container_pixels.mkv", "FF " PICTURES " " X264 " p.mkv; FF -i p.mkv -c copy -aspect 2:1 IN"},
      // Where time begins.
      {"late.mkv", "FF " PICTURES " " SOUND " " X264 " -c:a aac -output_ts_offset 40001 IN"},
      {"plain.ts", "FF " PICTURES " " SOUND " " X264 " -c:a aac IN"},
      {"plain.mpg", "FF " PICTURES " " SOUND " -c:v mpeg1video -c:a mp2 IN"},
      {"plain.vob", "FF " PICTURES " " SOUND " -c:v mpeg2video -c:a ac3 IN"},
      {"late_sound.mkv", "FF " PICTURES " -itsoffset 12 " SOUND " " X264 " -c:a aac IN"},
      {"late_pictures.mkv", "FF -itsoffset 0.48 " PICTURES " " SOUND " " X264 " -c:a aac IN"},
      // Time stamps that jump; a pause is none where the format has no jumps.
      {"joined.ts",
       "FF " PICTURES " " SOUND " " X264 " -c:a aac a.ts; cat a.ts a.ts > IN",
       {"jump 1 time", "1 packet and 0 pictures mended"}},
      {"ahead.ts",
       "FF " PICTURES " " SOUND " " X264 " -c:a aac a.ts; FF " PICTURES " " SOUND " " X264
       " -c:a aac -output_ts_offset 1000 b.ts; cat a.ts b.ts > IN",
       {"jump 1 time", "1 packet and 0 pictures mended"}},
      {"pause.mkv", "FF " PICTURES " " X264
                    " -vf \"setpts='PTS+if(gte(N,5),1000/TB,0)'\" -vsync vfr -enc_time_base 1:1000 IN"},
      // What else a file holds.
      {"subtitles.mkv",
       std::string(kText) +
           "FF " PICTURES " " SOUND " " SOUND " -i t.srt -i t.srt -map 0 -map 1 -map 2 -map 3 -map 4 " X264
           " -c:a aac -c:s srt -metadata:s:v language=fin -metadata:s:v title=Kuva -metadata:s:a:0 "
           "language=ger "
           "-metadata:s:a:1 language=eng -metadata:s:a:1 title=Comments -disposition:a:0 0 -disposition:a:1 "
           "default+comment -disposition:s:0 forced -disposition:s:1 default -metadata:s:s:0 language=fre "
           "IN"},
      {"fonts.mkv", std::string(kText) + "printf 'not a font' > f.ttf; FF " PICTURES " -i t.srt " X264
                                         " -c:s ass -attach f.ttf "
                                         "-metadata:s:t mimetype=application/x-truetype-font IN"},
      {"mov_text.mp4",
       std::string(kText) + "FF " PICTURES " -i t.srt " X264 " -c:s mov_text -metadata:s:s:0 language=swe IN",
       {"subtitle mov_text, swe): written as subrip"},
       "-map 0 -c copy -c:s srt -c:v:0 libx264 -preset ultrafast -fps_mode passthrough -enc_time_base -1"},
      {"chapters.mkv",
       std::string(kChapters) + "FF " PICTURES " " SOUND " -i c.txt -map_metadata 2 " X264 " -c:a aac IN"},
      {"chapters.mp4",
       std::string(kChapters) + "FF " PICTURES " -i c.txt -map_metadata 1 " X264 " IN",
       {"data bin_data, eng): left out"},
       "-map 0:v -c copy -c:v:0 libx264 -preset ultrafast -fps_mode passthrough -enc_time_base -1"},
      {"unmarked.ts",
       "FF " PICTURES " " SOUND " " SOUND " -map 0 -map 1 -map 2 " X264 " -c:a aac -disposition 0 IN"},
      {"two_videos.mkv",
       "FF " PICTURES " " PICTURES " -map 0 -map 1 " X264 " -metadata:s:v:1 title=Angle IN"},
      {"timecode.mov",
       "FF " PICTURES " -timecode 01:00:00:00 " X264 " IN",
       {"data none, eng): left out"},
       "-map 0:v -c copy -c:v:0 libx264 -preset ultrafast -fps_mode passthrough -enc_time_base -1"},
      // Sound.
      {"wma.asf", "FF " PICTURES " " SOUND " -c:v msmpeg4 -c:a wmav2 IN"},
      {"adpcm.avi", "FF " PICTURES " " SOUND " -c:v mpeg4 -c:a adpcm_ms IN"},
      {"mulaw.mov", "FF " PICTURES " " SOUND " " X264 " -c:a pcm_mulaw IN"},
      {"alaw.avi", "FF " PICTURES " " SOUND " -c:v mpeg4 -c:a pcm_alaw IN"},
      {"pcm.mov", "FF " PICTURES " " SOUND " " X264 " -c:a pcm_s16be IN"},
      {"floats.mov",
       "FF " PICTURES " " SOUND " " X264 " -c:a pcm_f32be IN",
       {"written as pcm_f32le, Matroska cannot hold it as it is"},
       "-map 0 -c copy -c:a pcm_f32le -c:v:0 libx264 -preset ultrafast -fps_mode passthrough -enc_time_base "
       "-1"},
      {"flac.mkv", "FF " PICTURES " " SOUND " " X264 " -c:a flac IN"},
      {"dts_ac3.ts",
       "FF " PICTURES " " SOUND " " SOUND " -map 0 -map 1 -map 2 " X264 " -c:a:0 ac3 -c:a:1 mp2 IN"},
      // Rates, fields, odd sizes and formats.
      {"missing_frame.mkv", "FF -f lavfi -i testsrc=s=48x32:r=30000/1001:d=0.7 " X264
                            " -vf \"select='not(eq(n,9))'\" -vsync vfr IN"},
      {"interlaced.mpg",
       "FF " PICTURES " -c:v mpeg2video -flags +ildct+ilme -top 1 -pix_fmt yuv420p IN",
       {"interlaced: coded as whole frames"}},
      {"one_frame.mkv", "FF -f lavfi -i testsrc=s=48x32:r=25:d=0.04 " X264 " IN"},
      {"rgb.avi",
       "FF " PICTURES " -c:v rawvideo -pix_fmt bgr24 IN",
       {"its pictures are bgr24, taken as yuv444p"}},
      {"deep.mkv", "FF " PICTURES " -c:v ffv1 -pix_fmt yuv422p12 IN", {"yuv422p12le, taken as yuv422p10le"}},
      {"12:30 clip.mp4", "FF " PICTURES " " X264 " file:IN"},
  };
  return list;
}

class KindsOfFiles : public Files, public testing::WithParamInterface<size_t> {};

TEST_P(KindsOfFiles, KeepWhatFfmpegKeeps) {
  const Kind& kind = kinds()[GetParam()];
  const std::string input = make(kind.name, kind.make);
  const Probe wanted(reference(input, kind.reference));
  for (const Mode mode : {Mode::plain, Mode::x2}) {
    const std::vector<std::string> notes = encode_to("out.mkv", input, quick(mode));
    ASSERT_EQ(notes.size(), kind.notes.size()) << Json(notes).dump(1);
    for (size_t i = 0; i < notes.size(); ++i) {
      EXPECT_THAT(notes[i], testing::StartsWith(input + ": "));
      EXPECT_THAT(notes[i], HasSubstr(kind.notes[i]));
    }
    EXPECT_THAT(unlike(Probe(path("out.mkv")), wanted, kind.tolerance), IsEmpty()) << name(mode);
    const DecodeReport report = decode(path("out.mkv"), path("decoded.mkv"));
    EXPECT_THAT(report.notes, IsEmpty());
    EXPECT_THAT(unlike(Probe(path("decoded.mkv")), wanted, kind.tolerance), IsEmpty())
        << name(mode) << ", decoded";
  }
}

INSTANTIATE_TEST_SUITE_P(, KindsOfFiles, testing::Range(size_t{0}, kinds().size()), [](const auto& info) {
  std::string name = kinds()[info.param].name;
  std::ranges::replace_if(
      name, [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
});

}  // namespace
}  // namespace cairn::video
