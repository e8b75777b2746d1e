#include "video/decode.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <string>

#include "base/log.hpp"
#include "base/progress.hpp"
#include "base/standard_streams.hpp"
#include "cli/video/work.hpp"

namespace cairn::cli {
namespace {

// The first file to be written: of a folder of pictures that one stands for all.
std::string first_output(const std::string& output) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (fs::is_directory(output, ignored)) return (fs::path(output) / video::kFirstPicture).string();
  return output.ends_with('/') ? "" : output;
}

}  // namespace

void run_decode(DecodeFlags& flags) {
  flags.files.check({first_output(flags.output)}, {flags.input});
  video::DecodeReport report;
  {
    Progress bar("restoring", 0, "frames");
    uint64_t total = 0;
    report = video::decode(flags.input, flags.output, flags.decode, [&](uint64_t done, uint64_t of) {
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

}  // namespace cairn::cli
