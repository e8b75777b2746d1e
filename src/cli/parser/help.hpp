#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace cairn::cli {

// What a flag or an argument says of itself, as help, man pages and completions show it.
struct Entry {
  std::string names;                // "-t, --threads", "MODEL"
  std::string value;                // "N", "f16|i8", empty for a switch
  std::string about;                // with range, default and other spellings
  std::vector<std::string> values;  // where only these are taken
  bool required = false, many = false;
};

struct Group {
  std::string name;
  std::vector<Entry> entries;
};

Entry describe(const CLI::Option& option);
std::vector<Entry> arguments(const CLI::App& command);    // the positional ones
std::vector<Group> flag_groups(const CLI::App& command);  // in the order of values.hpp
std::vector<const CLI::App*> subcommands(const CLI::App& command);
std::string full_name(const CLI::App& command);  // "cairn video encode"
std::string usage(const CLI::App& command);      // "cairn run [FLAGS] MODEL [PROMPT...]"

// --help of all versions of CLI11 alike, 100 columns wide.
class HelpFormatter : public CLI::FormatterBase {
 public:
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override;
};

// `text` in lines of at most `width` columns, each after the first indented.
std::string wrapped(const std::string& text, size_t width, size_t indent);

}  // namespace cairn::cli
