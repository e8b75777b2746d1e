// `cairn video`: what it was asked for is done by libcairn_video.so, which alone needs libav and SDL.

#include "base/plugin.hpp"
#include "cli/commands.hpp"
#include "cli/video/flags/flags.hpp"

namespace cairn::cli {
namespace {

void run(int argc, const char* const* argv) {
  const VideoPlugin& plugin = open_plugin<VideoPlugin>(own_library(
      VideoPlugin::kLibrary,
      "cairn was built without video (it needs libavformat-dev, libavcodec-dev and libswscale-dev)"));
  call_plugin(plugin.run, argc, argv);
}

}  // namespace

void add_video(CLI::App& program, int argc, const char* const* argv) {
  const auto work = [=](auto&) { run(argc, argv); };
  add_video_commands(program, {work, work, work, work, work, work, work, work, work});
}

}  // namespace cairn::cli
