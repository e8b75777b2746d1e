#include "cli/parser/defaults.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>
#include <vector>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/near_match.hpp"
#include "cli/parser/help.hpp"

namespace cairn::cli {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// What a person may want otherwise every time: a flag that is not required and is not about one call alone.
bool takes_default(const CLI::Option& option) {
  static const std::set<std::string> once = {"help", "version", "prompt", "file", "output", "model", "force"};
  return !option.get_positional() && !option.get_required() && !option.get_lnames().empty() &&
         !option.get_group().empty() && !once.contains(option.get_lnames()[0]);
}

std::vector<CLI::Option*> flags(CLI::App& command) {
  std::vector<CLI::Option*> found;
  for (CLI::Option* option : command.get_options()) {
    if (takes_default(*option)) found.push_back(option);
  }
  for (CLI::App* part : command.get_subcommands([](CLI::App*) { return true; })) {
    if (!part->get_name().empty()) continue;
    for (CLI::Option* option : flags(*part)) found.push_back(option);
  }
  return found;
}

bool has_name(const CLI::Option& option, const std::string& name) {
  return std::ranges::find(option.get_lnames(), name) != option.get_lnames().end();
}

// Keys of every command below, for the check of the file's first part.
void collect(const CLI::App& command, std::vector<std::string>& keys) {
  for (const CLI::Option* option : command.get_options()) {
    if (takes_default(*option))
      keys.insert(keys.end(), option->get_lnames().begin(), option->get_lnames().end());
  }
  for (const CLI::App* below : command.get_subcommands([](const CLI::App*) { return true; }))
    collect(*below, keys);
}

void set_default(CLI::Option& option, const std::string& value, const std::string& from) {
  try {
    option.run_callback_for_default();
    option.default_val(value);
  } catch (const CLI::Error& error) {
    std::string reason = error.what();
    if (reason.starts_with("Could not convert")) reason = fmt::format("'{}' is not what it takes", value);
    const std::string name = option.get_name() + ": ";
    if (reason.starts_with(name)) reason = reason.substr(name.size());
    fail(ErrorCode::invalid_argument, "{}: {}", from, reason);
  }
  debug("{} {} from {}", option.get_name(), value, from);
}

struct Item {
  std::string section, key;
  std::vector<std::string> values;
};

std::vector<Item> read_config(const std::string& path) {
  std::ifstream file(path);
  std::vector<Item> items;
  if (path.empty() || !file) return items;
  try {
    for (const CLI::ConfigItem& item : CLI::ConfigTOML().from_config(file)) {
      if (item.name == "++" || item.name == "--") continue;  // a section's begin and end
      items.push_back({fmt::format("{}", fmt::join(item.parents, ".")), item.name, item.inputs});
    }
  } catch (const CLI::Error& error) {
    fail(ErrorCode::invalid_argument, "{}: {}", path, error.what());
  }
  return items;
}

std::string section_of(const CLI::App& command) {
  std::string section = full_name(command);
  section.erase(0, section.find(' ') + 1);
  std::ranges::replace(section, ' ', '.');
  return section;
}

bool is_first_part(const Item& item) {
  return item.section.empty() || item.section == "default";
}

}  // namespace

std::string config_path() {
  if (std::getenv("CAIRN_CONFIG") != nullptr) return variable("CAIRN_CONFIG");
  if (const std::string folder = variable("XDG_CONFIG_HOME"); !folder.empty())
    return folder + "/cairn/config.toml";
  if (const std::string home = variable("HOME"); !home.empty()) return home + "/.config/cairn/config.toml";
  return {};
}

std::string variable_of(const CLI::Option& option) {
  std::string name = "CAIRN_" + option.get_lnames().at(0);
  for (char& c : name) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    if (c == '-') c = '_';
  }
  return name;
}

void check_config(const CLI::App& all, const CLI::App& command) {
  const std::string path = config_path(), own = section_of(command);
  std::vector<std::string> sections, any_keys, own_keys;
  for (const CLI::App* one : subcommands(all)) sections.push_back(one->get_name());
  collect(all, any_keys);
  collect(command, own_keys);
  for (const Item& item : read_config(path)) {
    const bool first_part = is_first_part(item);
    const std::string command_name = item.section.substr(0, item.section.find('.'));
    if (!first_part && std::ranges::find(sections, command_name) == sections.end())
      fail(ErrorCode::invalid_argument, "{}: [{}] is no command{}", path, item.section,
           did_you_mean(item.section, sections));
    if (!first_part && item.section != own) continue;
    const std::vector<std::string>& keys = first_part ? any_keys : own_keys;
    if (std::ranges::find(keys, item.key) == keys.end())
      fail(ErrorCode::invalid_argument, "{}: {}no flag --{}{}", path,
           first_part ? "" : "[" + own + "]: ", item.key, did_you_mean(item.key, keys));
  }
}

void apply_defaults(CLI::App& command) {
  const std::vector<CLI::Option*> own = flags(command);
  const std::string path = config_path(), section = section_of(command);
  const std::vector<Item> items = read_config(path);
  for (const bool general : {true, false}) {
    for (const Item& item : items) {
      if (general ? !is_first_part(item) : item.section != section) continue;
      const auto option =
          std::ranges::find_if(own, [&](const CLI::Option* o) { return has_name(*o, item.key); });
      if (option == own.end()) continue;  // another command's
      if (item.values.size() != 1)
        fail(ErrorCode::invalid_argument, "{}: {} needs one value", path, item.key);
      set_default(**option, item.values[0], fmt::format("{}: {}", path, item.key));
    }
  }
  for (CLI::Option* option : own) {
    const std::string name = variable_of(*option);
    if (const std::string value = variable(name.c_str()); !value.empty()) set_default(*option, value, name);
  }
}

}  // namespace cairn::cli
