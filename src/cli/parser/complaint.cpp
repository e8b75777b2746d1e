#include "cli/parser/complaint.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/near_match.hpp"
#include "cli/parser/help.hpp"

namespace cairn::cli {
namespace {

void all_options(const CLI::App& command, std::vector<const CLI::Option*>& found) {
  for (const CLI::Option* option : command.get_options()) found.push_back(option);
  for (const CLI::App* part : command.get_subcommands([](const CLI::App*) { return true; })) {
    if (part->get_name().empty()) all_options(*part, found);
  }
}

std::string display(const CLI::Option& option) {
  return option.get_positional() ? option.get_name(true) : option.get_name();
}

// The option that CLI11's text is about: the longest of those whose name it holds.
const CLI::Option* named_in(const CLI::App& command, const std::string& text) {
  std::vector<const CLI::Option*> options;
  all_options(command, options);
  const CLI::Option* best = nullptr;
  for (const CLI::Option* option : options) {
    const std::string name = option->get_name();
    if (name.empty() || text.find(name) == std::string::npos) continue;
    if (best == nullptr || name.size() > best->get_name().size()) best = option;
  }
  return best;
}

std::string unknown_flag(const CLI::App& command, const std::string& word) {
  std::vector<const CLI::Option*> options;
  all_options(command, options);
  std::vector<std::string> names;
  for (const CLI::Option* option : options) {
    if (option->get_group().empty()) continue;
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  const std::string flag = word.substr(0, word.find('='));
  return fmt::format("unknown flag '{}'{}", flag, flag.starts_with("--") ? did_you_mean(flag, names) : "");
}

}  // namespace

const CLI::App& parsed_command(const CLI::App& tree) {
  for (const CLI::App* below : tree.get_subcommands()) {
    if (!below->get_name().empty()) return parsed_command(*below);
  }
  return tree;
}

std::string unknown_command(const CLI::App& tree, const std::string& word) {
  std::vector<std::string> names;
  for (const CLI::App* command : subcommands(tree)) names.push_back(command->get_name());
  return fmt::format("unknown command '{}'{}", word, did_you_mean(word, names));
}

std::string complaint(const CLI::App& tree, const CLI::ParseError& error) {
  const CLI::App& command = parsed_command(tree);
  const std::string see = fmt::format(" (see {} --help)", full_name(command));
  // A flag that nobody knows is what is wrong, whatever is missing because of it.
  const auto left = command.remaining();
  const auto flag = std::ranges::find_if(left, [](const std::string& word) {
    return word.size() > 1 && word[0] == '-' && !(word[1] >= '0' && word[1] <= '9');
  });
  if (flag != left.end()) return unknown_flag(command, *flag) + see;
  const std::string text = error.what();
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr && !left.empty())
    return fmt::format("'{}' is one word too many{}", left.front(), see);
  const CLI::Option* option = named_in(command, text);
  if (option == nullptr) {
    if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr && !subcommands(command).empty())
      return "no command given" + see;
    return text + see;
  }
  const std::string name = display(*option);
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) return name + " is missing" + see;
  const bool is_switch = option->get_items_expected_max() == 0;
  if (dynamic_cast<const CLI::ConversionError*>(&error) != nullptr && is_switch)
    return name + " takes no value" + see;
  if (dynamic_cast<const CLI::ConversionError*>(&error) != nullptr) {
    const std::string value = option->results().empty() ? "" : option->results().back();
    const bool whole =
        option->get_type_name().starts_with("UINT") || option->get_type_name().starts_with("INT");
    return fmt::format("{}: '{}' is not {}{}", name, value, whole ? "a whole number" : "a number", see);
  }
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr)
    return is_switch ? fmt::format("{} takes no value{}", name, see)
                     : fmt::format("{} needs a value{}", name, see);
  if (dynamic_cast<const CLI::ExcludesError*>(&error) != nullptr) {
    for (const CLI::Option* other : option->get_excludes()) {
      if (other->count() > 0) return fmt::format("{} does not go with {}{}", name, display(*other), see);
    }
  }
  if (dynamic_cast<const CLI::RequiresError*>(&error) != nullptr) {
    std::vector<const CLI::Option*> options;
    all_options(command, options);
    for (const CLI::Option* given : options) {
      for (const CLI::Option* needed : given->get_needs()) {
        if (given->count() > 0 && needed->count() == 0)
          return fmt::format("{} is of use only with {}{}", display(*given), display(*needed), see);
      }
    }
  }
  return text + see;
}

}  // namespace cairn::cli
