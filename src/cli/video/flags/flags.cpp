#include "cli/video/flags/flags.hpp"

#include <memory>

namespace cairn::cli {
namespace {

void add_inspect(CLI::App& video, const std::function<void(InspectFlags&)>& work) {
  auto flags = std::make_shared<InspectFlags>();
  CLI::App& command = *video.add_subcommand("inspect", "show what each byte of a video is for");
  command.add_option("FILE", flags->path, "a file that `cairn video encode` wrote, or any video")->required();
  command.add_flag("--json", flags->json, "as JSON");
  command.add_option("--attachment", flags->attachment,
                     "write the attachment (networks, labels) to this file instead");
  add_output_flags(command, flags->files);
  command.footer("Example: cairn video inspect clip.mkv");
  command.callback([flags, work] { work(*flags); });
}

void add_decode(CLI::App& video, const std::function<void(DecodeFlags&)>& work) {
  auto flags = std::make_shared<DecodeFlags>();
  CLI::App& command =
      *video.add_subcommand("decode", "restore a cairn video into a file, a pipe or pictures");
  command.add_option("INPUT", flags->input, "a video that cairn encoded (any other is decoded as it is)")
      ->required();
  command
      .add_option("-o,--output", flags->output,
                  "-: y4m on standard output; NAME.y4m; NAME.mkv: lossless, with time stamps and what else "
                  "the input holds; "
                  "FOLDER/: PNGs")
      ->required();
  add_output_flags(command, flags->files);
  command.add_option("--frames", flags->decode.frames, "stop after so many (0: all)")->capture_default_str();
  command.add_option("--threads", flags->decode.restore.threads, "of the networks (0: all processors)")
      ->capture_default_str();
  command.add_flag("--float", flags->decode.restore.floats,
                   "run the networks in floats: slow, for comparison");
  add_keep_flags(command, flags->decode.keep, "of NAME.mkv: leave the input's");
  command.add_flag("--keep-going", flags->decode.keep_going,
                   "pass over what is broken in the input, and count it");
  command.footer("Example: cairn video decode clip.mkv -o - | ffplay -");
  command.callback([flags, work] { work(*flags); });
}

void add_compare(CLI::App& video, const std::function<void(CompareFlags&)>& work) {
  auto flags = std::make_shared<CompareFlags>();
  CLI::App& command =
      *video.add_subcommand("compare", "measure a cairn video against its original, and against Lanczos");
  command.add_option("ORIGINAL", flags->original, "what was encoded")->required();
  command.add_option("CODED", flags->coded, "what cairn video encode made of it")->required();
  command.add_flag("--json", flags->json, "the figures as JSON");
  command.add_option("--html", flags->html, "write a page with plots, a heat map and crops");
  add_output_flags(command, flags->files);
  command.add_flag("--keep-going", flags->compare.keep_going, "pass over what is broken, and count it");
  command.add_option("--frames", flags->compare.frames, "the first so many only (0: all)")
      ->capture_default_str();
  command.add_option("--threads", flags->compare.restore.threads, "0: all processors")->capture_default_str();
  command.add_flag("--float", flags->compare.restore.floats, "run the networks in floats: slow");
  command.footer("Example: cairn video compare clip.mp4 clip.mkv --html clip.html");
  command.callback([flags, work] { work(*flags); });
}

void add_play(CLI::App& video, const std::function<void(PlayFlags&)>& work) {
  auto flags = std::make_shared<PlayFlags>();
  CLI::App& command = *video.add_subcommand(
      "play",
      "play a cairn video, restored, in a window (q ends, space pauses, f: full screen, b held: bicubic)");
  command.add_option("INPUT", flags->input, "a video that cairn encoded, or any other")->required();
  command.add_flag("--fullscreen", flags->play.fullscreen, "over the whole screen");
  command.add_flag("--mute", flags->play.mute, "without sound");
  command.add_flag("--loop", flags->play.loop, "again and again, without sound");
  command.add_option("--frames", flags->play.frames, "stop after so many (0: all)")->capture_default_str();
  command.add_option("--threads", flags->play.restore.threads, "of the networks (0: all processors)")
      ->capture_default_str();
  command.add_flag("--report", flags->report, "at the end, say what was shown and dropped");
  command.footer("Example: cairn video play clip.mkv");
  command.callback([flags, work] { work(*flags); });
}

}  // namespace

void add_keep_flags(CLI::App& command, video::Keep& keep, const std::string& leave) {
  const auto add = [&](const char* name, bool& kept, const char* what) {
    command.add_flag_callback(
        name, [&kept] { kept = false; }, leave + what);
  };
  add("--no-audio", keep.audio, " audio out");
  add("--no-subtitles", keep.subtitles, " subtitles out");
  add("--no-chapters", keep.chapters, " chapters out");
  add("--no-attachments", keep.attachments, " fonts and cover out");
  add("--no-tags", keep.tags, " titles and other tags out");
}

void add_video_commands(CLI::App& program, const VideoWork& work) {
  CLI::App& video = *program.add_subcommand("video", "send video small and restore it where it is watched");
  video.require_subcommand(1);
  video.footer("cairn video COMMAND --help tells what a command takes, with an example.");
  add_video_encode(video, work.encode);
  add_inspect(video, work.inspect);
  add_decode(video, work.decode);
  add_compare(video, work.compare);
  add_play(video, work.play);
  add_video_work(video, work.work);
  add_video_join(video, work.join);
  add_video_publish(video, work.publish);
  add_video_live(video, work.live);
}

}  // namespace cairn::cli
