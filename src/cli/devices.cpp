#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "backends/cuda/list_devices.hpp"
#include "base/cores.hpp"
#include "base/machine.hpp"
#include "base/printable.hpp"
#include "base/thread_pool.hpp"
#include "cli/commands.hpp"
#include "kernels/kernels.hpp"
#include "offload/registry.hpp"

namespace cairn::cli {
namespace {

double gib(uint64_t bytes) {
  return static_cast<double>(bytes) / (1 << 30);
}

nlohmann::json to_json(const cuda::DeviceSummary& gpu, size_t index) {
  return {{"name", fmt::format("cuda:{}", index)}, {"processor", gpu.name},
          {"memory_mib", gpu.memory >> 20},        {"free_mib", gpu.free >> 20},
          {"multiprocessors", gpu.processors},     {"capability", cuda::capability_text(gpu)},
          {"driver_cuda", cuda::driver_text(gpu)}};
}

}  // namespace

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
    const cuda::DeviceList gpus = cuda::list_devices();
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
      nlohmann::json devices = nlohmann::json::array({cpu});
      for (size_t i = 0; i < gpus.devices.size(); ++i) devices.push_back(to_json(gpus.devices[i], i));
      nlohmann::json told{{"devices", devices}, {"prefill_devices", engines}};
      if (gpus.devices.empty()) told["no_gpu"] = gpus.reason;
      fmt::print("{}\n", told.dump(2));
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
    fmt::print("\n");
    for (size_t i = 0; i < gpus.devices.size(); ++i) {
      const cuda::DeviceSummary& gpu = gpus.devices[i];
      fmt::print(
          "cuda:{}  {}, {:.1f} of {:.1f} GiB of memory free, {} multiprocessors, capability {}, driver for "
          "CUDA "
          "{}\n",
          i, printable(gpu.name), gib(gpu.free), gib(gpu.memory), gpu.processors, cuda::capability_text(gpu),
          cuda::driver_text(gpu));
    }
    if (gpus.devices.empty()) fmt::print("cuda  not found: {}\n", gpus.reason);
    fmt::print("\nfor run --prefill:\n");
    for (const offload::AcceleratorInfo& info : offload::list_accelerators()) {
      fmt::print("  {:<14} {}{}\n", info.name, info.available ? "" : "not found: ", info.detail);
    }
  });
}

}  // namespace cairn::cli
