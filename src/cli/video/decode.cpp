#include "video/decode.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <string>

#include "base/progress.hpp"
#include "base/standard_streams.hpp"
#include "cli/output_flags.hpp"
#include "cli/video/commands.hpp"

namespace cairn::cli {
namespace {

struct Options {
  std::string input, output;
  bool quiet = false;
  OutputFlags files;
  video::DecodeOptions decode;
};

// The first file to be written: of a folder of pictures that one stands for all.
std::string first_output(const std::string& output) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (fs::is_directory(output, ignored)) return (fs::path(output) / video::kFirstPicture).string();
  return output.ends_with('/') ? "" : output;
}

void run(const Options& options) {
  options.files.check({first_output(options.output)}, {options.input});
  video::DecodeReport report;
  {
    Progress bar("restoring", 0, "frames");
    uint64_t total = 0;
    report = video::decode(options.input, options.output, options.decode, [&](uint64_t done, uint64_t of) {
      if (options.quiet) return;
      if (total != of) bar.restart(0, total = of);
      bar.update(done);
    });
  }
  if (!options.quiet) {
    tell("{} frames in {:.2f} s ({:.1f} a second)\n", report.frames, report.seconds,
         static_cast<double>(report.frames) / report.seconds);
  }
}

}  // namespace

void add_video_decode(CLI::App& video) {
  auto options = std::make_shared<Options>();
  CLI::App& command =
      *video.add_subcommand("decode", "Restore a cairn video into a file, a pipe or pictures");
  command.add_option("input", options->input, "a video that cairn encoded (any other is decoded as it is)")
      ->required();
  command
      .add_option("-o,--output", options->output,
                  "-: y4m on standard output; NAME.y4m; NAME.mkv: lossless, with audio and time stamps; "
                  "FOLDER/: PNGs")
      ->required();
  add_output_flags(command, options->files);
  command.add_option("--frames", options->decode.frames, "stop after so many (0: all)")
      ->capture_default_str();
  command.add_option("--threads", options->decode.restore.threads, "of the networks (0: all processors)")
      ->capture_default_str();
  command.add_flag("--float", options->decode.restore.floats,
                   "run the networks in floats: slow, for comparison");
  command.add_flag("--no-audio", options->decode.no_audio, "leave the audio out of NAME.mkv");
  command.add_flag("--quiet", options->quiet, "nothing on standard error but failures");
  command.footer("Example: cairn video decode clip.mkv -o - | ffplay -");
  command.callback([options] { run(*options); });
}

}  // namespace cairn::cli
