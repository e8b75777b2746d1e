// The command line: from one tree of CLI11 come help, completions, man pages, defaults and the errors of what
// does not parse.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace cairn::cli {

// Parses and runs the command. Besides commands takes `help [COMMAND]`, --help at any place, `__complete
// WORD…` (what the last word may become, one a line) and `__man FOLDER` (a man page for every command).
// Errors: invalid_argument, one line with the flag, its value and what it takes; whatever the command throws.
void parse_and_run(CLI::App& tree, int argc, const char* const* argv);

// The same in libcairn_video.so, whose tree is a branch of the program's, which has found the words, the
// config file and the environment right.
void parse_again_and_run(CLI::App& tree, int argc, const char* const* argv);

}  // namespace cairn::cli
