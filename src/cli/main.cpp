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

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "cli/commands.hpp"

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
  fmt::print(stderr, "cairn: {}\n", text);
  return status;
}

int run(int argc, char** argv) {
  using namespace cairn::cli;
  if (argc > 1 && std::string_view(argv[1]) == "video") return run_video(argc - 1, argv + 1);
  CLI::App program{"cairn runs language models on the processor at hand.", "cairn"};
  program.set_version_flag("--version", "cairn " CAIRN_VERSION);
  program.require_subcommand(0, 1);  // none is told below: a misspelt one is named as unexpected
  program.get_formatter()->label("REQUIRED", "(required)");
  program.get_formatter()->label("UINT", "N");
  program.get_formatter()->label("FLOAT", "X");
  program.get_formatter()->label("SUBCOMMAND", "COMMAND");
  program.footer("cairn COMMAND --help tells what a command takes, with an example.");
  add_run(program);
  add_chat(program);
  add_bench(program);
  add_eval(program);
  add_calibrate(program);
  add_pull(program);
  add_inspect(program);
  add_stack(program);
  add_trim(program);
  add_verify(program);
  add_synth(program);
  add_tokenize(program);
  add_devices(program);
  add_video(program);

  if (argc == 1) {
    fmt::print("{}", program.help());
    return 2;
  }
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return program.exit(error);  // --help, --version
    return report(fmt::format("{} (see --help)", error.what()), 2);
  }
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
