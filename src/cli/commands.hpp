// cli: one file a command; it parses, calls and prints, and has no logic of its own.
#pragma once

#include <CLI/CLI.hpp>

namespace cairn::cli {

// Each adds its subcommand to the program; its callback throws cairn::Error on failure, which main() turns
// into one line on stderr and an exit status (cancelled → 130).
void add_run(CLI::App& program);
void add_chat(CLI::App& program);
void add_serve(CLI::App& program);
void add_bench(CLI::App& program);
void add_embed(CLI::App& program);
void add_eval(CLI::App& program);
void add_calibrate(CLI::App& program);
void add_compile(CLI::App& program);
void add_pull(CLI::App& program);
void add_models(CLI::App& program);  // list, show, rm
void add_convert(CLI::App& program);
void add_inspect(CLI::App& program);
void add_quantize(CLI::App& program);
void add_stack(CLI::App& program);
void add_trim(CLI::App& program);
void add_verify(CLI::App& program);
void add_simulate(CLI::App& program);
void add_synth(CLI::App& program);
void add_tokenize(CLI::App& program);
void add_devices(CLI::App& program);
// The words go on to libcairn_video.so.
void add_video(CLI::App& program, int argc, const char* const* argv);
void add_completion(CLI::App& program);

}  // namespace cairn::cli
