#include "cli/parser/parse.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <sstream>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/log.hpp"
#include "cli/parser/complaint.hpp"
#include "cli/parser/complete.hpp"
#include "cli/parser/defaults.hpp"
#include "cli/parser/help.hpp"
#include "cli/parser/man.hpp"
#include "cli/parser/values.hpp"

namespace cairn::cli {
namespace {

void set_level(const std::string& name) {
  for (const auto& [level, known] : {std::pair{LogLevel::error, "error"},
                                     {LogLevel::warning, "warning"},
                                     {LogLevel::info, "info"},
                                     {LogLevel::debug, "debug"}}) {
    if (name == known) set_log_level(level);
  }
}

// What every command takes.
void add_general_flags(CLI::App& command) {
  command
      .add_flag_callback(
          "-q,--quiet", [] { set_log_level(LogLevel::error); }, "say nothing but errors on standard error")
      ->group(kGeneral);
  command
      .add_flag_callback(
          "-v,--verbose", [] { set_log_level(LogLevel::debug); }, "say what was chosen")
      ->group(kGeneral);
  command.add_option_function<std::string>("--log-level", set_level, "what is said on standard error")
      ->check(one_of({"error", "warning", "info", "debug"}))
      ->group(kGeneral);
}

void finish(CLI::App& command) {
  for (CLI::App* below : command.get_subcommands([](CLI::App*) { return true; })) {
    if (!below->get_name().empty()) finish(*below);
  }
  if (command.get_group() == "Subcommands") command.group("Commands");
  command.set_help_flag("-h,--help", "print this help");
  command.formatter(std::make_shared<HelpFormatter>());
  if (subcommands(command).empty() && command.get_parent() != nullptr) add_general_flags(command);
}

CLI::App* find(CLI::App& tree, const std::string& name) {
  for (CLI::App* command : tree.get_subcommands([](CLI::App*) { return true; })) {
    if (!command->get_name().empty() && command->check_name(name)) return command;
  }
  return nullptr;
}

// Takes the words that name a command off the front of `words`, however deep it is: `help` among them becomes
// --help. Error invalid_argument: no such command.
CLI::App& named_command(CLI::App& tree, std::vector<std::string>& words) {
  CLI::App* command = &tree;
  for (size_t at = 0; at < words.size() && !words[at].starts_with("-") && !subcommands(*command).empty();) {
    if (words[at] == "help") {
      words.erase(words.begin() + static_cast<ptrdiff_t>(at));
      words.push_back("--help");
      continue;
    }
    CLI::App* below = find(*command, words[at]);
    if (below == nullptr)
      fail(ErrorCode::invalid_argument, "{} (see {} --help)", unknown_command(*command, words[at]),
           full_name(*command));
    command = below;
    ++at;
  }
  return *command;
}

void parse(CLI::App& tree, const std::vector<std::string>& words) {
  std::vector<std::string> reversed(words.rbegin(), words.rend());  // as CLI11 takes them
  try {
    tree.parse(reversed);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help, --version
      std::ostringstream text;
      tree.exit(error, text, text);
      fmt::print("{}", text.str());
      return;
    }
    fail(ErrorCode::invalid_argument, "{}", complaint(tree, error));
  }
}

}  // namespace

void parse_and_run(CLI::App& tree, int argc, const char* const* argv) {
  finish(tree);
  std::vector<std::string> words(argv + 1, argv + argc);
  const std::string first = words.empty() ? "" : words[0];
  if (first == "__complete") {
    words.erase(words.begin());
    for (const std::string& word : completions(tree, words)) fmt::print("{}\n", word);
    return;
  }
  if (first == "__man") {
    if (words.size() != 2) fail(ErrorCode::invalid_argument, "__man needs a folder");
    return write_man_pages(tree, words[1]);
  }
  CLI::App& command = named_command(tree, words);
  const bool asks =
      std::ranges::find(words, "--help") != words.end() || std::ranges::find(words, "-h") != words.end();
  if (!asks && subcommands(command).empty()) {
    check_config(tree, command);
    apply_defaults(command);
  }
  parse(tree, words);
}

void parse_again_and_run(CLI::App& tree, int argc, const char* const* argv) {
  finish(tree);
  std::vector<std::string> words(argv + 1, argv + argc);
  apply_defaults(named_command(tree, words));
  parse(tree, words);
}

}  // namespace cairn::cli
