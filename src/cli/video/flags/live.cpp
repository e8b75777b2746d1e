#include <memory>

#include "cli/parser/values.hpp"
#include "cli/video/flags/flags.hpp"

namespace cairn::cli {

void add_video_live(CLI::App& video, const std::function<void(LiveFlags&)>& work) {
  auto flags = std::make_shared<LiveFlags>();
  video::LiveOptions& live = flags->live;
  CLI::App& command = *video.add_subcommand(
      "live",
      "publish a stream while it runs: segments, and a network for each, trained as the next is captured");
  command
      .add_option(
          "INPUT", flags->input,
          "a file, at its own pace; a pipe; -: standard input; rtsp://…, srt://… and what else libav knows")
      ->required();
  command.add_option("-o,--output", flags->output, "the folder to write, as `cairn video publish` has it")
      ->required();
  add_output_flags(command, flags->files);
  command.add_option("--mode", flags->mode, "plain; x1: same size, restored; x2, x3, x4: smaller, upscaled")
      ->transform(one_of({"plain", "x1", "x2", "x3", "x4"}))
      ->capture_default_str();
  command.add_option("--codec", flags->codec, "what browsers play")
      ->transform(one_of({"x264", "av1"}))
      ->capture_default_str();
  command.add_option("--crf", live.crf, "constant rate factor")
      ->check(between(1.0, 63.0))
      ->capture_default_str();
  command
      .add_option(
          "--rates", flags->rates,
          "several at once instead of --mode and --crf: crf, or MODE:crf, of each, with commas between: "
          "x2:34,26")
      ->type_name("LIST")
      ->excludes("--mode")
      ->excludes("--crf");
  command.add_option("--preset", live.preset, "of the encoder (usual: veryfast; av1: 10)");
  command.add_option("--network", flags->network, "C8M4: channels and inner layers")->capture_default_str();
  command.add_option("--weight-bits", live.weight_bits, "of each weight, 4 … 8")
      ->check(between(4, 8))
      ->capture_default_str();
  command.add_flag_callback(
      "--no-train", [flags] { flags->live.train = false; }, "the general network for all segments (C8M4)");
  command.add_option("--segment-seconds", live.segment_seconds, "of a segment")
      ->check(between(0.5, 30.0))
      ->capture_default_str();
  command
      .add_option("--stall-seconds", live.capture.stall_seconds,
                  "without anything coming, after which the stream has stopped")
      ->check(between(0.1, 3600.0))
      ->capture_default_str();
  command.add_flag_callback(
      "--no-audio", [flags] { flags->live.capture.sound = false; }, "leave sound out");
  command.add_option("--title", live.title, "of the page (usual: the input's name)");
  command.add_option("--record", live.record, "write all of it to this Matroska file too, in the end")
      ->type_name("FILE");
  command.add_option("--threads", live.threads, "of encoder and training (0: all processors)")
      ->capture_default_str();
  command.add_flag("--json", flags->json, "in the end, what each segment was, as JSON");
  for (const char* name : {"--network", "--weight-bits", "--no-train", "--record"})
    command.get_option(name)->group(kResearch);
  command.footer(
      "Ctrl-C ends it; the folder stays, and plays from its beginning.\n"
      "Examples: cairn video live rtsp://camera/stream -o site\n"
      "          ffmpeg -re -i clip.mp4 -f mpegts - | cairn video live - -o site --segment-seconds 2\n"
      "Then, to see it here: python3 -m http.server -d site");
  command.callback([flags, work] { work(*flags); });
}

}  // namespace cairn::cli
