#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.hpp"
#include "cli/commands.hpp"
#include "cli/output_flags.hpp"
#include "cli/parser/values.hpp"
#include "cli/stages.hpp"
#include "cli/standard_io.hpp"
#include "stack/restore.hpp"
#include "stack/size.hpp"
#include "store/model_store.hpp"

namespace cairn::cli {
namespace {

struct Flags {
  std::string stack, output;
  uint64_t size = 0;
  double bits = 0;
  bool dequantize = false, json = false;
  OutputFlags files;
};

void run(const Flags& flags) {
  if ((flags.size == 0) == (flags.bits == 0))
    fail(ErrorCode::invalid_argument, "one of --size and --bits says what to keep");
  flags.files.check({flags.output}, model_inputs(flags.stack));
  const stack::Reader reader(resolve_model(flags.stack));
  const stack::Layout& layout = reader.layout();
  const size_t count = flags.size == 0 ? stack::blocks_for_bits(reader, flags.bits)
                                       : stack::blocks_for_size(reader, flags.size);
  Stages stages;
  const auto progress = [&](uint64_t done, uint64_t total) { stages.update("writing", done, total); };
  if (flags.dequantize) {
    ThreadPool pool(usable_processors(), ThreadPool::Idle::sleep);
    stack::write_restored(reader, count, flags.output, pool, progress);
  } else {
    stack::write_prefix(reader, count, flags.output, progress);
  }
  const double loss = static_cast<double>(layout.blocks[count - 1].loss);
  if (flags.json) {
    write_out(nlohmann::ordered_json{{"blocks", count},
                                     {"linear_bytes", layout.linear_bytes(count)},
                                     {"bits", layout.bits(count)},
                                     {"predicted_loss", loss}}
                  .dump() +
              "\n");
  } else {
    write_out(fmt::format("{}: {} of {} blocks, {:.3f} bits a weight, predicted loss {:.4f}\n", flags.output,
                          count, layout.blocks.size(), layout.bits(count), loss));
  }
}

}  // namespace

void add_trim(CLI::App& program) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("trim", "write a shorter stack: the beginning of a longer one");
  command->add_option("STACK", flags->stack, "a stack")->required();
  CLI::Option* size = add_size(*command, "--size", flags->size, "of the file, at most");
  command->add_option("--bits", flags->bits, "bits a weight of the stacked matrices, at most")
      ->check(at_least(0.0))
      ->type_name("B")
      ->excludes(size);
  command->add_option("-o,--output", flags->output, "the file to write")->required()->type_name("FILE");
  add_output_flags(*command, flags->files);
  command->add_flag("--dequantize", flags->dequantize,
                    "an ordinary GGUF file with matrices in f16 instead of a stack");
  command->add_flag("--json", flags->json, "print one JSON object");
  command->footer("Example: cairn trim smollm2.stack.gguf --bits 3 -o smollm2-3bit.gguf");
  command->callback([flags] { run(*flags); });
}

}  // namespace cairn::cli
