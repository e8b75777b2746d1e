#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace cairn::cli {

// What the last of `words` (those after the program's name) may become: commands, flags, a flag's names,
// pulled models where a MODEL stands. Nothing where a file's name is due: the shell completes those.
std::vector<std::string> completions(const CLI::App& tree, const std::vector<std::string>& words);

// The script that asks the program for completions. Error invalid_argument: no such shell.
std::string completion_script(const std::string& shell);

}  // namespace cairn::cli
