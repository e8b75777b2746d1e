// The flag that lets a command replace files, shared by all that write any.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace cairn::cli {

struct OutputFlags {
  bool force = false;

  // Before any work: no output is an input or another output, and none is there already, unless --force is
  // given or the user, asked on a terminal, says so. Empty names and "-" are passed over. Errors:
  // invalid_argument, io, cancelled.
  void check(const std::vector<std::string>& outputs, const std::vector<std::string>& inputs) const;
};

// -y, --force
void add_output_flags(CLI::App& command, OutputFlags& flags);

// The files of a MODEL, all parts of a split one, and `more`: a command's inputs.
std::vector<std::string> model_inputs(const std::string& name_or_path,
                                      const std::vector<std::string>& more = {});

// Asks on the terminal; false where there is none.
bool may_replace(const std::string& path);

}  // namespace cairn::cli
