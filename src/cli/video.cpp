// `cairn video`: what it was asked for is done by libcairn_video.so, which alone needs libav and SDL.
#include <array>
#include <string>

#include "base/error.hpp"
#include "base/plugin.hpp"
#include "cli/commands.hpp"
#include "cli/video/flags/flags.hpp"

namespace cairn::cli {
namespace {

const VideoPlugin& open_library() {
  const std::string path = find_own_library(VideoPlugin::kLibrary);
  if (path.empty()) {
    fail(ErrorCode::not_found,
         "{} is not there: cairn was built without video (it needs libavformat-dev, libavcodec-dev and "
         "libswscale-dev), or CAIRN_LIB should name its folder",
         VideoPlugin::kLibrary);
  }
  return open_plugin<VideoPlugin>(path);
}

void run(int argc, const char* const* argv) {
  std::array<char, 4096> message{};
  const int status = open_library().run(argc, argv, message.data(), message.size());
  if (status == 0) return;
  if (status < 0) fail(ErrorCode::io, "{}", message.data());
  throw Error(static_cast<ErrorCode>(status), message.data());
}

}  // namespace

void add_video(CLI::App& program, int argc, const char* const* argv) {
  const auto work = [=](auto&) { run(argc, argv); };
  add_video_commands(program, {work, work, work, work, work});
}

}  // namespace cairn::cli
