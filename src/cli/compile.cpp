#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "cli/commands.hpp"
#include "cli/output_flags.hpp"
#include "cli/parser/values.hpp"
#include "cli/prefill_flags.hpp"
#include "cli/quantize_flags.hpp"
#include "cli/session_flags.hpp"
#include "cli/stages.hpp"
#include "cli/standard_io.hpp"
#include "llm/model.hpp"
#include "offload/compile_model.hpp"
#include "offload/onnx/chips.hpp"
#include "store/model_store.hpp"

namespace cairn::cli {
namespace {

struct Flags {
  std::string model, output, chip;
  std::vector<uint32_t> chunks = {256};
  QuantizeFlags quantize;
  std::string bits = "8", form = "products";
  uint32_t context = 0;
  bool separate = false, json = false;
};

void run(const Flags& flags) {
  offload::onnx::chip_of(flags.chip);
  const auto model = llm::Model::load(resolve_model(flags.model));
  const quantize::Scheme scheme = make_scheme(flags.quantize, model->file(), model->parameters().layers);
  const offload::NpuForm form = npu_form(flags.form, flags.quantize, flags.bits == "4" ? 4 : 0);
  std::vector<uint32_t> chunks = flags.chunks;
  std::ranges::sort(chunks);
  chunks.erase(std::unique(chunks.begin(), chunks.end()), chunks.end());
  const Stopwatch watch;
  Stages bars("compile");
  const offload::onnx::Bundle bundle = offload::compile_model(
      model->file(), scheme, chunks,
      {.folder = flags.output,
       .chip = flags.chip,
       .bits = flags.bits == "4" ? offload::onnx::WeightBits::four : offload::onnx::WeightBits::eight,
       .separate = flags.separate,
       .form = form,
       .context = model->context(flags.context)},
      [&](size_t done, size_t total) {
        bars.share(static_cast<double>(done) / static_cast<double>(total));
        bars.update("graphs", done, total);
      },
      interrupted);
  if (flags.json) {
    write_out(nlohmann::ordered_json{{"folder", bundle.folder},
                                     {"chip", bundle.chip},
                                     {"graphs", bundle.graphs.size()},
                                     {"chunks", bundle.chunk_lengths()},
                                     {"bytes", bundle.bytes()},
                                     {"seconds", watch.seconds()}}
                  .dump() +
              "\n");
    return;
  }
  write_out(fmt::format("{}: {} graphs for {}, chunks of {} tokens, {:.1f} MB, {:.0f} s\n", bundle.folder,
                        bundle.graphs.size(), offload::onnx::chip_of(bundle.chip).product,
                        fmt::join(bundle.chunk_lengths(), ", "), static_cast<double>(bundle.bytes()) / 1e6,
                        watch.seconds()));
}

}  // namespace

void add_compile(CLI::App& program) {
  const auto flags = std::make_shared<Flags>();
  std::vector<std::string> chips;
  for (const offload::onnx::Chip& chip : offload::onnx::chips()) chips.emplace_back(chip.name);
  CLI::App* command = program.add_subcommand(
      "compile", "compile a model for a phone's NPU, to start there without a compiler");
  add_model(*command, flags->model);
  command->add_option("--soc", flags->chip, fmt::format("the chip: {}", fmt::join(chips, ", ")))
      ->required()
      ->type_name("NAME");
  command->add_option("-o,--output", flags->output, "the folder to write")->required()->type_name("DIR");
  command
      ->add_option("--chunk", flags->chunks, "tokens of a chunk, 256 if not given; several share the weights")
      ->check(between(32u, 1024u))
      ->delimiter(',');
  command->add_option("--bits", flags->bits, "of the weights; 4: half the size, less exact; 8 if not given")
      ->transform(one_of({"8", "4"}))
      ->type_name("N");
  command->add_flag("--separate", flags->separate,
                    "a context for each graph: what the emulator on a PC can run, too (a phone runs both)");
  add_npu_form(*command, flags->form);
  command
      ->add_option(
          "-c,--context", flags->context,
          "whole layers: positions of a sequence, as `run` will have them; what the model was trained for if "
          "not given, at most 4096")
      ->check(between(1, 1 << 24));
  add_quantize_flags(*command, flags->quantize);
  command->add_flag("--json", flags->json, "print one JSON object");
  command->footer(
      "Needs ONNX Runtime with Qualcomm's plug-in: ./quickstart.sh --npu installs both.\n"
      "Example: cairn compile smollm2-135m --soc snapdragon-8gen3 -o smollm2.8gen3\n"
      "         (there) cairn run smollm2-135m --prefill qnn --bundle smollm2.8gen3 -f long.txt");
  command->callback([flags] { run(*flags); });
}

}  // namespace cairn::cli
