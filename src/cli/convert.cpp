#include "convert/convert.hpp"

#include <fmt/format.h>

#include <array>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/interrupt.hpp"
#include "base/names.hpp"
#include "base/progress.hpp"
#include "cli/checkpoint_source.hpp"
#include "cli/commands.hpp"
#include "cli/output_flags.hpp"
#include "cli/parser/values.hpp"
#include "cli/standard_io.hpp"
#include "store/pull/checkpoint.hpp"

namespace cairn::cli {
namespace {

// In the order of the enumerators.
constexpr std::array<const char*, 4> kTypes = {"auto", "f32", "f16", "bf16"};

struct Flags {
  std::string source, output, type = "auto";
  OutputFlags files;
  bool json = false;
};

void run(const Flags& flags) {
  flags.files.check({flags.output}, files_in(flags.source));
  const auto type = parse_name<convert::Type>(kTypes, flags.type, "a type");
  const std::string folder = is_hub_checkpoint(flags.source) ? pull_checkpoint(flags.source) : flags.source;
  convert::Report report;
  {
    Progress bar("writing " + flags.output, 0);
    bool begun = false;
    report = convert::convert(folder, type, flags.output, [&](uint64_t done, uint64_t total) {
      throw_if_interrupted();
      if (!begun) bar.restart(0, total);
      begun = true;
      bar.update(done);
    });
  }
  if (flags.json) {
    write_out(nlohmann::ordered_json{{"architecture", report.architecture},
                                     {"type", report.type},
                                     {"tensors", report.tensors},
                                     {"parameters", report.parameters},
                                     {"bytes", report.bytes}}
                  .dump() +
              "\n");
  } else {
    write_out(fmt::format("{}: {}, {} tensors, {:.1f} million weights, matrices in {}\n", flags.output,
                          report.architecture, report.tensors, static_cast<double>(report.parameters) * 1e-6,
                          report.type));
  }
}

}  // namespace

void add_convert(CLI::App& program) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("convert", "write a Hugging Face checkpoint as a GGUF file");
  command
      ->add_option("SOURCE", flags->source,
                   "a folder with config.json, safetensors and a tokenizer, or hf:owner/repository")
      ->required();
  command->add_option("-o,--output", flags->output, "the GGUF file to write")->required()->type_name("FILE");
  add_output_flags(*command, flags->files);
  command
      ->add_option("--type", flags->type,
                   "of matrices: f32, f16, bf16; auto (default): the checkpoint's own 16 bits, else f16")
      ->transform(one_of(kTypes))
      ->type_name("NAME");
  command->add_flag("--json", flags->json, "print one JSON object");
  command->footer(
      "Which models, and what is checked: docs/convert.md. What comes from a hub is kept in\n"
      "~/.cache/cairn/checkpoints until you delete it; a download that broke off goes on where it stopped.\n"
      "Example: cairn convert Qwen2.5-0.5B-Instruct/ -o qwen.gguf");
  command->callback([flags] { run(*flags); });
}

}  // namespace cairn::cli
