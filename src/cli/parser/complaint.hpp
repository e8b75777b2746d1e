#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace cairn::cli {

// The command that was parsed last: `tree` itself, or the one below that its words named.
const CLI::App& parsed_command(const CLI::App& tree);

// "unknown command 'rnu': did you mean 'run'?"
std::string unknown_command(const CLI::App& tree, const std::string& word);

// What is wrong with a command line that CLI11 refused, in one line.
std::string complaint(const CLI::App& tree, const CLI::ParseError& error);

}  // namespace cairn::cli
