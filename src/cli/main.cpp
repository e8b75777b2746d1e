// The program: finds the subcommand, runs it, and turns what is thrown into one line and an exit status.
#include <fmt/format.h>
#include <signal.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/log.hpp"
#include "cli/commands.hpp"
#include "cli/parser/parse.hpp"

namespace {

using cairn::Error;
using cairn::ErrorCode;

int exit_status(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return 2;
    case ErrorCode::cancelled:
      return 130;
    default:
      return 1;
  }
}

// An error is one line whatever it quotes: control characters from files and arguments are made harmless.
int report(std::string text, int status) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  const bool coloured = cairn::colours();
  fmt::print(stderr, "{}cairn: {}{}\n", coloured ? "\x1b[31m" : "", coloured ? "\x1b[m" : "", text);
  return status;
}

int run(int argc, char** argv) {
  using namespace cairn::cli;
  const auto word = [&](int i) { return i < argc ? std::string_view(argv[i]) : std::string_view(); };
  if (word(1) == "video") return run_video(argc - 1, argv + 1);
  if ((word(1) == "help" || word(1) == "__complete") && word(2) == "video" &&
      (word(1) == "help" || argc > 3)) {
    std::vector<char*> words(argv + 2, argv + argc);  // `help video X` → `video help X`
    words.insert(words.begin() + 1, argv[1]);
    return run_video(static_cast<int>(words.size()), words.data());
  }
  CLI::App program{"cairn runs language models on the processor at hand.", "cairn"};
  program.set_version_flag("-V,--version", "cairn " CAIRN_VERSION);
  program.require_subcommand(0, 1);
  program.footer(
      "cairn help COMMAND tells what a command takes, with an example. Defaults of flags come from\n"
      "~/.config/cairn/config.toml and from variables such as CAIRN_THREADS (docs/cli.md).");
  add_run(program);
  add_chat(program);
  add_pull(program);
  add_models(program);
  add_stack(program);
  add_trim(program);
  add_verify(program);
  add_video(program);
  add_bench(program);
  add_eval(program);
  add_calibrate(program);
  add_inspect(program);
  add_synth(program);
  add_tokenize(program);
  add_devices(program);
  add_completion(program);
  for (const auto& [group, names] :
       {std::pair<const char*, std::vector<const char*>>{"Talk", {"run", "chat"}},
        {"Models", {"pull", "list", "show", "rm"}},
        {"Any size from one file", {"stack", "trim", "verify"}},
        {"Video", {"video"}},
        {"Measure and look inside",
         {"bench", "eval", "calibrate", "inspect", "synth", "tokenize", "devices"}},
        {"Shell", {"completion"}}}) {
    for (const char* name : names) program.get_subcommand(name)->group(group);
  }

  if (argc == 1) {
    const char* const help[] = {"cairn", "--help"};
    parse_and_run(program, 2, help);
    return 2;
  }
  parse_and_run(program, argc, argv);
  errno = EIO;
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    throw std::system_error(errno, std::generic_category());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  // A reader that has seen enough, a file that may not grow: errors of write(), not ends without a word.
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  cairn::catch_interrupts();
  try {
    return run(argc, argv);
  } catch (const Error& error) {
    return report(error.what(), exit_status(error.code()));
  } catch (const std::system_error& error) {
    // fmt's own words for a closed or full standard output are "cannot write to file".
    if (std::ferror(stdout) == 0) return report(error.what(), 1);
    return report("cannot write to standard output: " + error.code().message(), 1);
  } catch (const std::bad_alloc&) {
    return report("out of memory", 1);
  } catch (const std::exception& error) {
    return report(error.what(), 1);
  }
}
