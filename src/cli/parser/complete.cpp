#include "cli/parser/complete.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "cli/parser/help.hpp"
#include "store/model_store.hpp"

namespace cairn::cli {
namespace {

const CLI::Option* find_flag(const CLI::App& command, const std::string& word) {
  const auto matches = [&](const CLI::Option* option) {
    return option->nonpositional() && option->check_name(word);
  };
  for (const CLI::Option* option : command.get_options()) {
    if (matches(option)) return option;
  }
  for (const CLI::App* part : command.get_subcommands([](const CLI::App*) { return true; })) {
    if (!part->get_name().empty()) continue;
    if (const CLI::Option* option = find_flag(*part, word)) return option;
  }
  return nullptr;
}

}  // namespace

std::vector<std::string> completions(const CLI::App& tree, const std::vector<std::string>& words) {
  if (words.empty()) return {};
  const CLI::App* command = &tree;
  const CLI::Option* open = nullptr;  // the flag whose value is due
  size_t positionals = 0;
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    if (open != nullptr) {
      open = nullptr;
      continue;
    }
    if (words[i].starts_with("-")) {
      const CLI::Option* flag = find_flag(*command, words[i]);
      if (flag != nullptr && flag->get_items_expected_max() > 0) open = flag;
      continue;
    }
    const auto below = subcommands(*command);
    const auto found = std::ranges::find(below, words[i], &CLI::App::get_name);
    if (found != below.end()) {
      command = *found;
    } else if (!(words[i] == "help" && command == &tree)) {
      ++positionals;
    }
  }
  std::vector<std::string> out;
  const std::string& begun = words.back();
  const auto offer = [&](const std::string& word) {
    if (word.starts_with(begun)) out.push_back(word);
  };
  if (open != nullptr) {
    for (const std::string& value : describe(*open).values) offer(value);
  } else if (begun.starts_with("-")) {
    for (const Group& group : flag_groups(*command)) {
      for (const Entry& entry : group.entries) {
        const size_t at = entry.names.find("--");
        if (at != std::string::npos) offer(entry.names.substr(at));
      }
    }
  } else if (const auto below = subcommands(*command); !below.empty()) {
    for (const CLI::App* one : below) offer(one->get_name());
    if (command == &tree && tree.get_name() == "cairn") offer("help");
  } else {
    const auto wanted = arguments(*command);
    const bool many = !wanted.empty() && wanted.back().many;
    if (positionals < wanted.size() || many) {
      const Entry& due = wanted[std::min(positionals, wanted.size() - 1)];
      for (const std::string& value : due.values) offer(value);
      if (due.names == "MODEL" || due.names == "STACK") {
        for (const std::string& name : stored_model_names()) offer(name);
      }
    }
  }
  return out;
}

std::string completion_script(const std::string& shell) {
  if (shell == "bash") {
    return R"(# cairn completion bash: put this into ~/.local/share/bash-completion/completions/cairn
_cairn() {
  local IFS=$'\n'
  COMPREPLY=($(cairn __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _cairn cairn
)";
  }
  if (shell == "zsh") {
    return R"(#compdef cairn
# cairn completion zsh: put this as _cairn into a folder of $fpath
_cairn() {
  local -a found
  found=("${(@f)$(cairn __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  [[ -n "${found[1]}" ]] && compadd -a found || _files
}
if [ "$funcstack[1]" = "_cairn" ]; then _cairn "$@"; else compdef _cairn cairn; fi
)";
  }
  if (shell == "fish") {
    return R"(# cairn completion fish: put this into ~/.config/fish/completions/cairn.fish
complete -c cairn -a '(cairn __complete (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
)";
  }
  fail(ErrorCode::invalid_argument, "completion {}: the shells are bash, zsh and fish", shell);
}

}  // namespace cairn::cli
