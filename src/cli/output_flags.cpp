#include "cli/output_flags.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <span>

#include "base/error.hpp"
#include "base/output_path.hpp"
#include "base/printable.hpp"
#include "base/standard_streams.hpp"
#include "cli/standard_io.hpp"

namespace cairn::cli {

bool may_replace(const std::string& path) {
  const bool seen = isatty(STDERR_FILENO) != 0 || isatty(STDOUT_FILENO) != 0;
  if (isatty(STDIN_FILENO) == 0 || !seen) return false;
  const std::string question = fmt::format("{} is there already. Replace it? [y/N] ", printable(path));
  isatty(STDERR_FILENO) != 0 ? write_error(question) : write_out(question);
  std::string answer;
  char c = 0;
  while (read_some(STDIN_FILENO, {&c, 1}, "standard input") == 1 && c != '\n') answer += c;
  return answer == "y" || answer == "Y" || answer == "yes";
}

void OutputFlags::check(const std::vector<std::string>& outputs,
                        const std::vector<std::string>& inputs) const {
  for (size_t i = 0; i < outputs.size(); ++i) check_output(outputs[i], inputs, std::span(outputs).first(i));
  for (const std::string& path : outputs) {
    if (!force && would_replace(path) && !may_replace(path))
      fail(ErrorCode::invalid_argument, "{}: is there already; --force replaces it", path);
  }
}

void add_output_flags(CLI::App& command, OutputFlags& flags) {
  command.add_flag("-y,--force", flags.force, "replace files that are there already");
}

}  // namespace cairn::cli
