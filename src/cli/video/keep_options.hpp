#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "video/container.hpp"

namespace cairn::cli {

// --no-audio and the like.
struct KeepOptions {
  bool no_audio = false, no_subtitles = false, no_chapters = false, no_attachments = false, no_tags = false;

  void add(CLI::App& command, const std::string& leave) {
    command.add_flag("--no-audio", no_audio, leave + " audio out");
    command.add_flag("--no-subtitles", no_subtitles, leave + " subtitles out");
    command.add_flag("--no-chapters", no_chapters, leave + " chapters out");
    command.add_flag("--no-attachments", no_attachments, leave + " fonts and cover out");
    command.add_flag("--no-tags", no_tags, leave + " titles and other tags out");
  }
  video::Keep keep() const { return {!no_audio, !no_subtitles, !no_chapters, !no_attachments, !no_tags}; }
};

}  // namespace cairn::cli
