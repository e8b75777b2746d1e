// A model as commands that write another take it: a name, a file, or a checkpoint.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "formats/gguf.hpp"

namespace cairn::cli {

// A folder with a config.json that has no stored model's name, or hf:OWNER/REPOSITORY.
bool is_checkpoint(const std::string& name_or_path);
std::vector<std::string> files_in(const std::string& folder);
// MODEL
void add_source(CLI::App& command, std::string& source);
// The files that the command reads, which it must not write over.
std::vector<std::string> source_inputs(const std::string& name_or_path, const std::vector<std::string>& more);
// A checkpoint is converted as `cairn convert` would; what that changes is kept beside `output` in a file
// without a name. A hub's is downloaded first.
gguf::File open_source(const std::string& name_or_path, const std::string& output);

}  // namespace cairn::cli
