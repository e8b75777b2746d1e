#include "video/play.hpp"

#include <fmt/format.h>

#include <memory>
#include <string>

#include "cli/video/commands.hpp"

namespace cairn::cli {
namespace {

struct Options {
  std::string input;
  bool report = false;
  video::PlayOptions play;
};

void run(const Options& options) {
  const video::PlayReport report = video::play(options.input, options.play);
  if (!options.report) return;
  fmt::print("{} frames shown, {} dropped, the first after {:.0f} ms, at most {:.0f} ms late\n", report.shown,
             report.dropped, report.first_frame * 1e3, report.largest_lag * 1e3);
}

}  // namespace

void add_video_play(CLI::App& video) {
  auto options = std::make_shared<Options>();
  CLI::App& command = *video.add_subcommand(
      "play",
      "Play a cairn video, restored, in a window (q ends, space pauses, f: full screen, b held: bicubic)");
  command.add_option("INPUT", options->input, "a video that cairn encoded, or any other")->required();
  command.add_flag("--fullscreen", options->play.fullscreen, "over the whole screen");
  command.add_flag("--mute", options->play.mute, "without sound");
  command.add_flag("--loop", options->play.loop, "again and again, without sound");
  command.add_option("--frames", options->play.frames, "stop after so many (0: all)")->capture_default_str();
  command.add_option("--threads", options->play.restore.threads, "of the networks (0: all processors)")
      ->capture_default_str();
  command.add_flag("--report", options->report, "at the end, say what was shown and dropped");
  command.footer("Example: cairn video play clip.mkv");
  command.callback([options] { run(*options); });
}

}  // namespace cairn::cli
