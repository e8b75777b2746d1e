#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace cairn::cli {

// Writes cairn.1, cairn-run.1, … for a tree's commands into a folder. Error io.
void write_man_pages(const CLI::App& tree, const std::string& folder);

}  // namespace cairn::cli
