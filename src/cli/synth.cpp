#include "measure/synth.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/progress.hpp"
#include "cli/commands.hpp"
#include "cli/output_flags.hpp"
#include "cli/parser/values.hpp"
#include "graph/model_shapes.hpp"

namespace cairn::cli {
namespace {

struct Options {
  measure::SynthOptions synth;
  std::string encoding = "q4_0";
  std::string output;
  OutputFlags files;
};

void run(const Options& options) {
  measure::SynthOptions synth = options.synth;
  const EncodingInfo* wanted = find_encoding(options.encoding);
  if (!wanted) fail(ErrorCode::invalid_argument, "--encoding '{}' is not known", options.encoding);
  synth.encoding = wanted->encoding;
  options.files.check({options.output}, {});
  measure::SynthReport report;
  {
    Progress bar("writing " + options.output, 0);
    report =
        measure::synthesize(synth, options.output, [&, begun = false](uint64_t done, uint64_t total) mutable {
          if (!begun) bar.restart(0, total);
          begun = true;
          bar.update(done);
        });
  }
  fmt::print("{}: {} tensors, {:.2f} billion weights, {:.1f} MiB of data, {:.3f} bits a weight\n",
             options.output, report.tensors, static_cast<double>(report.elements) * 1e-9,
             static_cast<double>(report.bytes) / (1 << 20),
             8.0 * static_cast<double>(report.bytes) / static_cast<double>(report.elements));
  if (report.fallbacks)
    fmt::print("{} matrices whose rows are no multiple of {} are in {} instead of {}\n", report.fallbacks,
               wanted->block_elements, info(report.fallback).name, wanted->name);
}

}  // namespace

void add_synth(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      program.add_subcommand("synth", "Write a GGUF of a published model's shape with random weights");
  std::vector<std::string> shapes, names;
  for (const graph::ModelShape& shape : graph::model_shapes()) shapes.emplace_back(shape.name);
  for (const EncodingInfo& encoding : encodings()) names.emplace_back(encoding.name);
  command
      ->add_option("--shape", options->synth.shape,
                   "whose shape: " + fmt::format("{}", fmt::join(shapes, ", ")))
      ->required()
      ->transform(one_of(shapes));
  command
      ->add_option("--encoding", options->encoding,
                   "how every matrix is stored: " + fmt::format("{}", fmt::join(names, ", ")))
      ->capture_default_str()
      ->transform(one_of(names));
  command->add_option("-o,--output", options->output, "the file to write")->required();
  add_output_flags(*command, options->files);
  command->add_option("--seed", options->synth.seed, "the same seed gives the same file")
      ->capture_default_str();
  command->add_option("--layers", options->synth.layers, "fewer layers than the model has (0: all)")
      ->capture_default_str();
  command->add_option("--vocabulary", options->synth.vocabulary, "fewer tokens than the model has (0: all)")
      ->capture_default_str();
  command->footer(
      "The file loads like a trained model and answers nonsense: for measuring speed and memory.\n\n"
      "Example:\n  cairn synth --shape qwen1.5-1.8b --encoding q4_0 -o qwen.gguf");
  command->callback([options] { run(*options); });
}

}  // namespace cairn::cli
