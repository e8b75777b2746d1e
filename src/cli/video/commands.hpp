// The subcommands of `cairn video`, in the shared object libcairn_video.so that cli/video.cpp opens.
#pragma once

#include <CLI/CLI.hpp>

namespace cairn::cli {

// Each adds its subcommand; its callback throws cairn::Error on failure.
void add_video_encode(CLI::App& video);
void add_video_inspect(CLI::App& video);
void add_video_decode(CLI::App& video);
void add_video_compare(CLI::App& video);
void add_video_play(CLI::App& video);

}  // namespace cairn::cli
