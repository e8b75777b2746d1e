#include "stack/verify.hpp"

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.hpp"
#include "cli/commands.hpp"
#include "cli/stages.hpp"
#include "cli/standard_io.hpp"
#include "store/model_store.hpp"

namespace cairn::cli {
namespace {

void run(const std::string& path, bool json) {
  const stack::Reader reader(resolve_model(path));
  Stages stages;
  const stack::Verification found =
      stack::verify(reader, [&](uint64_t done, uint64_t total) { stages.update("blocks", done, total); });
  std::string text;
  if (json) {
    auto bad = nlohmann::ordered_json::array();
    for (const stack::BadBlock& block : found.bad)
      bad.push_back({{"block", block.block}, {"reason", block.reason}, {"without", block.without}});
    text = nlohmann::ordered_json{{"blocks", found.blocks},
                                  {"present", found.present},
                                  {"bad", bad},
                                  {"bad_tensors", found.bad_tensors},
                                  {"header_checked", !found.old}}
               .dump() +
           "\n";
  } else {
    for (const stack::BadBlock& block : found.bad)
      text += fmt::format("{}; {} finer blocks of its rows are of no use\n", block.reason, block.without);
    for (const std::string& name : found.bad_tensors)
      text += fmt::format("{}: tensor '{}': its checksum is wrong\n", path, name);
    if (found.old) text += fmt::format("{}: an old stack: its header and tensors have no checksums\n", path);
    text += fmt::format("{}: {} of {} blocks are there, {} damaged\n", path, found.present, found.blocks,
                        found.bad.size());
  }
  write_out(text);
  if (!found.bad_tensors.empty())
    fail(ErrorCode::format, "{}: {} tensors and {} blocks are damaged", path, found.bad_tensors.size(),
         found.bad.size());
  if (!found.bad.empty())
    fail(ErrorCode::format, "{}: {} of {} blocks are damaged", path, found.bad.size(), found.present);
}

}  // namespace

void add_verify(CLI::App& program) {
  struct Flags {
    std::string stack;
    bool json = false;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("verify", "check every byte of a stack");
  command->add_option("STACK", flags->stack, "a stack, or the beginning of one")->required();
  command->add_flag("--json", flags->json, "print one JSON object");
  command->footer(
      "The exit status is 1 when something is damaged. What is missing at a file's end is no damage.\n"
      "Example: cairn verify smollm2.stack.gguf");
  command->callback([flags] { run(flags->stack, flags->json); });
}

}  // namespace cairn::cli
