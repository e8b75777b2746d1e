#include "cli/parser/man.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/atomic_file.hpp"
#include "cli/parser/help.hpp"

namespace cairn::cli {
namespace {

// Text as troff takes it: no line begins with a control character, backslashes and dashes are themselves.
std::string escaped(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((text[i] == '.' || text[i] == '\'') && (i == 0 || text[i - 1] == '\n')) out += "\\&";
    if (text[i] == '\\') {
      out += "\\e";
    } else if (text[i] == '-') {
      out += "\\-";
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string dashed(std::string name) {
  std::ranges::replace(name, ' ', '-');
  return name;
}

std::string entries(const std::string& title, const std::vector<Entry>& list) {
  if (list.empty()) return "";
  std::string upper = title;
  for (char& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  std::string out = fmt::format(".SH {}\n", upper);
  for (const Entry& entry : list) {
    out += fmt::format(".TP\n.B {}{}{}\n{}\n", escaped(entry.names), entry.value.empty() ? "" : " ",
                       escaped(entry.value), escaped(entry.about));
  }
  return out;
}

std::string page(const CLI::App& command) {
  const std::string name = dashed(full_name(command));
  std::string out = fmt::format(".TH \"{}\" 1 \"\" \"cairn {}\" \"cairn\"\n.SH NAME\n{} \\- {}\n", name,
                                CAIRN_VERSION, escaped(name), escaped(command.get_description()));
  out += ".SH SYNOPSIS\n" + escaped(usage(command)) + "\n";
  out += entries("Arguments", arguments(command));
  std::vector<Entry> commands;
  for (const CLI::App* below : subcommands(command))
    commands.push_back({dashed(full_name(*below)), "", below->get_description(), {}});
  out += entries("Commands", commands);
  for (const Group& group : flag_groups(command)) out += entries(group.name, group.entries);
  if (const std::string footer = command.get_footer(); !footer.empty())
    out += ".SH NOTES\n.nf\n" + escaped(footer) + "\n.fi\n";
  return out;
}

}  // namespace

void write_man_pages(const CLI::App& tree, const std::string& folder) {
  AtomicFile file(folder + "/" + dashed(full_name(tree)) + ".1");
  file.write(page(tree));
  file.commit();
  for (const CLI::App* command : subcommands(tree)) write_man_pages(*command, folder);
}

}  // namespace cairn::cli
