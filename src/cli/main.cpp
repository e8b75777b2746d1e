// The program: finds the subcommand, runs it, and turns what is thrown into one line and an exit status.
#include <fmt/format.h>
#include <signal.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
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
#include "base/printable.hpp"
#include "base/standard_streams.hpp"
#include "cli/commands.hpp"
#include "cli/parser/parse.hpp"
#include "cli/standard_io.hpp"

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
    if (c == '\n' || c == '\t') c = ' ';
  }
  const bool coloured = cairn::colours();
  cairn::write_error(fmt::format("{}cairn: {}{}\n", coloured ? "\x1b[31m" : "", coloured ? "\x1b[m" : "",
                                 cairn::printable(text)));
  return status;
}

bool ignores_broken_pipes = false;  // as whoever started this program wishes

// The end of a program whose reader has seen enough: quietly by SIGPIPE, as if nobody had caught it.
int end_by_broken_pipe(const std::string& text) {
  if (ignores_broken_pipes) return report(text, 1);
  signal(SIGPIPE, SIG_DFL);
  raise(SIGPIPE);
  return 1;
}

// Of errors that came of writing to standard output.
int report_output(const std::string& reason) {
  if (cairn::interrupted()) return report("interrupted", exit_status(ErrorCode::cancelled));
  const std::string text = fmt::format("{}: {}", cairn::cli::kCannotWriteOut, reason);
  return cairn::output_reader_left() ? end_by_broken_pipe(text) : report(text, 1);
}

int report_error(const Error& error) {
  const std::string_view text = error.what();
  if (error.code() == ErrorCode::io && text.ends_with(std::strerror(EPIPE)) && cairn::output_reader_left())
    return end_by_broken_pipe(error.what());
  return report(error.what(), exit_status(error.code()));
}

int run(int argc, char** argv) {
  using namespace cairn::cli;
  CLI::App program{"cairn runs language models on the processor at hand.", "cairn"};
  program.set_version_flag("-V,--version", "cairn " CAIRN_VERSION);
  program.require_subcommand(0, 1);
  program.footer(
      "cairn help COMMAND tells what a command takes, with an example. Defaults of flags come from\n"
      "~/.config/cairn/config.toml and from variables such as CAIRN_THREADS (docs/cli.md).");
  add_run(program);
  add_chat(program);
  add_serve(program);
  add_embed(program);
  add_pull(program);
  add_models(program);
  add_convert(program);
  add_quantize(program);
  add_stack(program);
  add_trim(program);
  add_verify(program);
  add_video(program, argc, argv);
  add_bench(program);
  add_eval(program);
  add_calibrate(program);
  add_compile(program);
  add_inspect(program);
  add_simulate(program);
  add_synth(program);
  add_tokenize(program);
  add_devices(program);
  add_completion(program);
  for (const auto& [group, names] :
       {std::pair<const char*, std::vector<const char*>>{"Talk", {"run", "chat", "serve", "embed"}},
        {"Models", {"pull", "list", "show", "rm", "convert", "quantize"}},
        {"Any size from one file", {"stack", "trim", "verify"}},
        {"Video", {"video"}},
        {"Measure and look inside",
         {"bench", "eval", "calibrate", "compile", "inspect", "simulate", "synth", "tokenize", "devices"}},
        {"Shell", {"completion"}}}) {
    for (const char* name : names) program.get_subcommand(name)->group(group);
  }

  if (argc == 1) {
    const char* const help[] = {"cairn", "--help"};
    parse_and_run(program, 2, help);
    return 2;
  }
  parse_and_run(program, argc, argv);
  return 0;
}

void flush_output() {
  errno = EIO;
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    throw std::system_error(errno, std::generic_category());
  }
}

}  // namespace

int main(int argc, char** argv) {
  cairn::open_standard_descriptors();
  // A reader that has seen enough, a file that may not grow: errors of write(), so that what is half done is
  // tidied up.
  ignores_broken_pipes = signal(SIGPIPE, SIG_IGN) == SIG_IGN;
  signal(SIGXFSZ, SIG_IGN);
  cairn::catch_interrupts();
  try {
    const int status = run(argc, argv);
    flush_output();
    return status;
  } catch (const Error& error) {
    return report_error(error);
  } catch (const std::system_error& error) {
    // fmt's own words for a closed or full standard output are "cannot write to file".
    if (std::ferror(stdout) == 0) return report(error.what(), 1);
    return report_output(error.code().message());
  } catch (const std::bad_alloc&) {
    return report("out of memory", 1);
  } catch (const std::exception& error) {
    return report(error.what(), 1);
  }
}
