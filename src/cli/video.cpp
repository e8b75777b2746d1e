// `cairn video`: opens libcairn_video.so, which holds its subcommands, and hands it the arguments.
#include <array>
#include <string>

#include "base/error.hpp"
#include "base/own_library.hpp"
#include "cli/commands.hpp"
#include "cli/video/entry.hpp"

namespace cairn::cli {
namespace {

constexpr const char* kLibrary = "libcairn_video.so";

VideoEntry open_library() {
  const std::string path = find_own_library(kLibrary);
  if (path.empty()) {
    fail(ErrorCode::not_found,
         "{} is not there: cairn was built without video (it needs libavformat-dev, libavcodec-dev and "
         "libswscale-dev), or CAIRN_LIB should name its folder",
         kLibrary);
  }
  return reinterpret_cast<VideoEntry>(open_own_library(path, kVideoEntryName));
}

}  // namespace

int run_video(int argc, char** argv) {
  std::array<char, 4096> message{};
  const int status = open_library()(argc, argv, message.data(), message.size());
  if (status == 0) return 0;
  if (status < 0) fail(ErrorCode::io, "{}", message.data());
  throw Error(static_cast<ErrorCode>(status), message.data());
}

void add_video(CLI::App& program) {
  // Named here for the list of commands alone: main() passes its arguments on unparsed.
  program.add_subcommand("video", "send video small and restore it where it is watched");
}

}  // namespace cairn::cli
