#include <memory>

#include "cli/parser/values.hpp"
#include "cli/video/flags/flags.hpp"

namespace cairn::cli {

void add_video_publish(CLI::App& video, const std::function<void(PublishFlags&)>& work) {
  auto flags = std::make_shared<PublishFlags>();
  CLI::App& command = *video.add_subcommand(
      "publish", "write a folder for any web server: video in segments, networks, a page that restores");
  command
      .add_option("INPUT", flags->inputs,
                  "cairn videos (AV1, x264) of one original, a rate each; or one ordinary video, which is encoded")
      ->required();
  command.add_option("-o,--output", flags->output, "the folder to write")->required();
  add_output_flags(command, flags->files);
  command
      .add_option("--original", flags->publish.original,
                  "the original, published too, for the slider; the page tells the bytes saved")
      ->type_name("FILE");
  command.add_option("--title", flags->publish.title, "of the page (usual: the first input's name)");
  command
      .add_option("--segment-seconds", flags->publish.segment_seconds,
                  "of a segment, at least: segments begin at key frames")
      ->check(between(0.5, 60.0))
      ->capture_default_str();
  command
      .add_option("--rates", flags->rates,
                  "of an ordinary video: crf, or MODE:crf, of each rate, with commas between (usual: x2:50,48,38; "
                  "x264: x2:36,34,26)")
      ->type_name("LIST");
  command.add_option("--codec", flags->codec, "of an ordinary video's rates")
      ->capture_default_str()
      ->transform(one_of({"av1", "x264"}));
  command.add_option("--preset", flags->publish.encode.preset, "of the encoder (usual: slow; av1: 5)");
  command.add_option("--network", flags->networks,
                     "of an ordinary video's rates; given again, a smaller one for weaker machines (usual: C8M4)");
  command.add_option("--train-steps", flags->publish.encode.train_steps, "of each network, eight crops each")
      ->check(between(1, 1000000))
      ->capture_default_str();
  command.add_option("--threads", flags->threads, "of the training (0: all processors)")->capture_default_str();
  command.add_flag_callback(
      "--no-audio", [flags] { flags->publish.audio = false; }, "leave sound out");
  command.add_flag_callback(
      "--no-subtitles", [flags] { flags->publish.subtitles = false; }, "leave subtitles out");
  command.add_flag("--json", flags->json, "what was written, as JSON");
  command.footer(
      "Examples: cairn video publish small.mkv large.mkv -o site --original clip.mp4\n"
      "          cairn video publish clip.mp4 -o site --rates x2:50,45,38 --network C8M4 --network C4M2\n"
      "Then, to see it here: python3 -m http.server -d site");
  command.callback([flags, work] { work(*flags); });
}

}  // namespace cairn::cli
