#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/cores.hpp"
#include "base/machine.hpp"
#include "base/thread_pool.hpp"
#include "cli/commands.hpp"
#include "kernels/kernels.hpp"
#include "offload/registry.hpp"

namespace cairn::cli {

void add_devices(CLI::App& program) {
  const auto as_json = std::make_shared<bool>(false);
  CLI::App* command =
      program.add_subcommand("devices", "print what models can run on here, and what was not found");
  command->add_flag("--json", *as_json, "print JSON");
  command->footer(
      "CAIRN_TARGET=NAME in the environment makes cairn use another of the instruction sets listed.\n"
      "Example: cairn devices --json");
  command->callback([as_json] {
    const kernels::Target chosen = kernels::default_target();
    nlohmann::json sets = nlohmann::json::array();
    for (const kernels::Target target : kernels::available_targets()) sets.push_back(kernels::name(target));
    if (*as_json) {
      nlohmann::json engines = nlohmann::json::array();
      for (const offload::AcceleratorInfo& info : offload::list_accelerators()) {
        engines.push_back({{"name", info.name}, {"available", info.available}, {"detail", info.detail}});
      }
      const nlohmann::json cpu = {{"name", "cpu"},
                                  {"processor", processor_name()},
                                  {"threads", usable_processors()},
                                  {"memory_mib", memory_bytes() >> 20},
                                  {"instruction_sets", sets},
                                  {"instruction_set", kernels::name(chosen)}};
      fmt::print("{}\n", nlohmann::json{{"devices", {cpu}}, {"prefill_devices", engines}}.dump(2));
      return;
    }
    fmt::print("cpu   {}, {} threads, {:.1f} GiB of memory\n", processor_name(), usable_processors(),
               static_cast<double>(memory_bytes()) / (1 << 30));
    if (const std::string cores = describe_cores(); !cores.empty()) fmt::print("      {}\n", cores);
    fmt::print("      instruction sets:");
    for (const kernels::Target target : kernels::available_targets()) {
      fmt::print(" {}{}", kernels::name(target), target == chosen ? " (used)" : "");
    }
    if (const char* lacking = kernels::lacking(); *lacking != '\0') fmt::print("\n      {}", lacking);
    fmt::print("\n\nfor run --prefill:\n");
    for (const offload::AcceleratorInfo& info : offload::list_accelerators()) {
      fmt::print("  {:<14} {}{}\n", info.name, info.available ? "" : "not found: ", info.detail);
    }
  });
}

}  // namespace cairn::cli
