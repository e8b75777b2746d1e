#include "cli/parser/help.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "cli/parser/values.hpp"

namespace cairn::cli {
namespace {

constexpr size_t kColumns = 100, kNameColumns = 26;

// CLI11 writes TYPE or TYPE:what the check says of itself.
std::pair<std::string, std::string> type_and_range(const CLI::Option& option) {
  const std::string all = option.get_type_name();
  const size_t colon = all.find(':');
  std::string type = all.substr(0, colon);
  const std::string range = colon == std::string::npos ? "" : all.substr(colon + 1);
  if (type == "UINT" || type == "INT" || type == "ENUM") type = "N";
  if (type == "FLOAT") type = "X";
  return {type, range};
}

size_t columns(const std::string& text) {
  return static_cast<size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string line(const Entry& entry) {
  std::string left = "  " + entry.names;
  if (!entry.value.empty()) left += " " + entry.value;
  if (columns(left) + 2 > kNameColumns) {
    left += "\n" + std::string(kNameColumns, ' ');
  } else {
    left += std::string(kNameColumns - columns(left), ' ');
  }
  return left + wrapped(entry.about, kColumns - kNameColumns, kNameColumns) + "\n";
}

}  // namespace

std::string wrapped(const std::string& text, size_t width, size_t indent) {
  std::string out, line;
  const auto flush = [&] {
    if (!out.empty()) out += "\n" + std::string(indent, ' ');
    out += line;
    line.clear();
  };
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    if (!line.empty() && columns(line) + 1 + columns(word) > width) flush();
    line += (line.empty() ? "" : " ") + word;
    at = end + 1;
  }
  flush();
  return out;
}

Entry describe(const CLI::Option& option) {
  Entry entry;
  entry.required = option.get_required();
  entry.many = option.get_items_expected_max() > 1;
  entry.about = option.get_description();
  const auto& longs = option.get_lnames();
  const auto& shorts = option.get_snames();
  std::vector<std::string> others;
  if (option.get_positional()) {
    entry.names = option.get_name(true);
    for (const std::string& name : shorts) others.push_back("-" + name);
    for (const std::string& name : longs) others.push_back("--" + name);
  } else {
    if (!shorts.empty()) entry.names = "-" + shorts[0];
    if (!longs.empty()) entry.names += (shorts.empty() ? "" : ", ") + ("--" + longs[0]);
    for (size_t i = 1; i < shorts.size(); ++i) others.push_back("-" + shorts[i]);
    for (size_t i = 1; i < longs.size(); ++i) others.push_back("--" + longs[i]);
  }
  std::vector<std::string> notes;
  if (option.get_items_expected_max() > 0) {
    const auto [type, range] = type_and_range(option);
    if (!option.get_positional()) entry.value = type;
    if (range.find('|') != std::string::npos) {
      for (size_t at = 0; at <= range.size();) {
        const size_t end = std::min(range.find('|', at), range.size());
        entry.values.push_back(range.substr(at, end - at));
        at = end + 1;
      }
      const bool beside = !option.get_positional() && range.size() <= 32;
      if (beside) entry.value = range;
      if (!beside && !option.get_positional()) entry.value = "NAME";
      if (!beside) notes.push_back(fmt::format("{}", fmt::join(entry.values, ", ")));
    } else if (!range.empty()) {
      notes.push_back(range);
    }
    if (const std::string given = option.get_default_str(); !given.empty())
      notes.push_back("default " + given);
  }
  if (!others.empty()) notes.push_back(fmt::format("also {}", fmt::join(others, ", ")));
  for (const CLI::Option* needed : option.get_needs()) notes.push_back("with " + needed->get_name());
  if (!notes.empty()) entry.about += fmt::format(" ({})", fmt::join(notes, "; "));
  return entry;
}

std::vector<Entry> arguments(const CLI::App& command) {
  std::vector<Entry> entries;
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_positional() && !option->get_group().empty()) entries.push_back(describe(*option));
  }
  return entries;
}

std::vector<Group> flag_groups(const CLI::App& command) {
  std::vector<Group> groups;
  for (const char* name : {kUsual, kSampling, kMemory, kResearch, kGeneral}) groups.push_back({name, {}});
  const auto add = [&](const CLI::App& app) {
    for (const CLI::Option* option : app.get_options()) {
      if (option->get_positional() || option->get_group().empty()) continue;
      const bool help = option == app.get_help_ptr();
      const std::string name = help ? kGeneral : option->get_group();
      auto group = std::ranges::find(groups, name, &Group::name);
      if (group == groups.end()) group = groups.begin();
      group->entries.push_back(describe(*option));
    }
  };
  add(command);
  for (const CLI::App* part : command.get_subcommands([](const CLI::App*) { return true; })) {
    if (part->get_name().empty()) add(*part);  // an option group
  }
  std::erase_if(groups, [](const Group& group) { return group.entries.empty(); });
  return groups;
}

std::vector<const CLI::App*> subcommands(const CLI::App& command) {
  auto all = command.get_subcommands(
      [](const CLI::App* app) { return !app->get_name().empty() && !app->get_group().empty(); });
  return {all.begin(), all.end()};
}

std::string full_name(const CLI::App& command) {
  const CLI::App* parent = command.get_parent();
  return parent == nullptr ? command.get_name() : full_name(*parent) + " " + command.get_name();
}

std::string usage(const CLI::App& command) {
  std::string text = full_name(command);
  if (!subcommands(command).empty()) return text + " COMMAND …";
  text += " [FLAGS]";
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_positional() || !option->get_required()) continue;
    const Entry entry = describe(*option);
    text += fmt::format(" {} {}", entry.names.substr(0, entry.names.find(',')), entry.value);
  }
  for (const Entry& entry : arguments(command)) {
    const std::string name = entry.names + (entry.many ? "..." : "");
    text += entry.required ? " " + name : " [" + name + "]";
  }
  return text;
}

std::string HelpFormatter::make_help(const CLI::App* app, std::string, CLI::AppFormatMode) const {
  std::string out = app->get_description() + "\n\nUsage: " + usage(*app) + "\n";
  std::vector<std::string> kinds;
  for (const CLI::App* command : subcommands(*app)) {
    if (std::ranges::find(kinds, command->get_group()) == kinds.end()) kinds.push_back(command->get_group());
  }
  for (const std::string& kind : kinds) {
    out += "\n" + kind + ":\n";
    for (const CLI::App* command : subcommands(*app)) {
      if (command->get_group() == kind)
        out += line({command->get_name(), "", command->get_description(), {}});
    }
  }
  std::vector<Group> groups = flag_groups(*app);
  if (auto entries = arguments(*app); !entries.empty())
    groups.insert(groups.begin(), {"Arguments", std::move(entries)});
  for (const Group& group : groups) {
    out += "\n" + group.name + ":\n";
    for (const Entry& entry : group.entries) out += line(entry);
  }
  if (const std::string footer = app->get_footer(); !footer.empty()) out += "\n" + footer + "\n";
  return out;
}

}  // namespace cairn::cli
