#include "video/decode.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <string>

#include "base/log.hpp"
#include "base/progress.hpp"
#include "base/standard_streams.hpp"
#include "cli/output_flags.hpp"
#include "cli/video/commands.hpp"
#include "cli/video/keep_options.hpp"

namespace cairn::cli {
namespace {

struct Options {
  std::string input, output;
  OutputFlags files;
  KeepOptions keep;
  video::DecodeOptions decode;
};

// The first file to be written: of a folder of pictures that one stands for all.
std::string first_output(const std::string& output) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (fs::is_directory(output, ignored)) return (fs::path(output) / video::kFirstPicture).string();
  return output.ends_with('/') ? "" : output;
}

void run(Options& options) {
  options.decode.keep = options.keep.keep();
  options.files.check({first_output(options.output)}, {options.input});
  video::DecodeReport report;
  {
    Progress bar("restoring", 0, "frames");
    uint64_t total = 0;
    report = video::decode(options.input, options.output, options.decode, [&](uint64_t done, uint64_t of) {
      if (!logs(LogLevel::info)) return;
      if (total != of) bar.restart(0, total = of);
      bar.update(done);
    });
  }
  if (logs(LogLevel::info)) {
    for (const std::string& line : report.notes) tell("{}\n", line);
    tell("{} frames in {:.2f} s ({:.1f} a second)\n", report.frames, report.seconds,
         static_cast<double>(report.frames) / report.seconds);
  }
}

}  // namespace

void add_video_decode(CLI::App& video) {
  auto options = std::make_shared<Options>();
  CLI::App& command =
      *video.add_subcommand("decode", "Restore a cairn video into a file, a pipe or pictures");
  command.add_option("INPUT", options->input, "a video that cairn encoded (any other is decoded as it is)")
      ->required();
  command
      .add_option("-o,--output", options->output,
                  "-: y4m on standard output; NAME.y4m; NAME.mkv: lossless, with time stamps and what else "
                  "the input holds; "
                  "FOLDER/: PNGs")
      ->required();
  add_output_flags(command, options->files);
  command.add_option("--frames", options->decode.frames, "stop after so many (0: all)")
      ->capture_default_str();
  command.add_option("--threads", options->decode.restore.threads, "of the networks (0: all processors)")
      ->capture_default_str();
  command.add_flag("--float", options->decode.restore.floats,
                   "run the networks in floats: slow, for comparison");
  options->keep.add(command, "of NAME.mkv: leave the input's");
  command.add_flag("--keep-going", options->decode.keep_going,
                   "pass over what is broken in the input, and count it");
  command.footer("Example: cairn video decode clip.mkv -o - | ffplay -");
  command.callback([options] { run(*options); });
}

}  // namespace cairn::cli
