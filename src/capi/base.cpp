#include "cairn/base.h"

#include <array>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "backends/cuda/list_devices.hpp"
#include "base/log.hpp"
#include "base/machine.hpp"
#include "base/thread_pool.hpp"
#include "capi/call.hpp"
#include "kernels/kernels.hpp"

using namespace cairn;

namespace {

constexpr std::string_view kVersion = CAIRN_VERSION;

constexpr bool says(std::string_view version, int major, int minor, int patch) {
  std::array<int, 3> numbers{};
  size_t part = 0;
  for (const char c : version) {
    if (c == '.') {
      ++part;
    } else {
      numbers[part] = numbers[part] * 10 + (c - '0');
    }
  }
  return numbers == std::array{major, minor, patch};
}
static_assert(says(kVersion, CAIRN_VERSION_MAJOR, CAIRN_VERSION_MINOR, CAIRN_VERSION_PATCH),
              "include/cairn/base.h and CMakeLists.txt tell different versions");

}  // namespace

const char* cairn_status_name(cairn_status status) {
  constexpr std::array<const char*, 12> kNames = {
      "ok",          "internal",      "invalid argument", "not found", "input/output", "format",
      "unsupported", "out of memory", "network",          "numeric",   "cancelled",    "busy"};
  return status >= 0 && static_cast<size_t>(status) < kNames.size() ? kNames[static_cast<size_t>(status)]
                                                                    : "unknown";
}

const char* cairn_version(void) {
  return kVersion.data();
}

void cairn_free(void* memory) {
  std::free(memory);
}

void cairn_set_log_level(int32_t level) {
  if (level < CAIRN_LOG_ERROR || level > CAIRN_LOG_DEBUG) return;
  set_log_level(static_cast<LogLevel>(level));
}

cairn_status cairn_devices(char** json, cairn_error* error) {
  return capi::call(error, [&] {
    capi::require(json, "json");
    *json = nullptr;
    nlohmann::ordered_json sets = nlohmann::ordered_json::array();
    for (const kernels::Target target : kernels::available_targets()) sets.push_back(kernels::name(target));
    const nlohmann::ordered_json cpu = {{"name", "cpu"},
                                        {"processor", processor_name()},
                                        {"threads", usable_processors()},
                                        {"memory_bytes", memory_bytes()},
                                        {"instruction_sets", sets},
                                        {"instruction_set", kernels::name(kernels::default_target())}};
    nlohmann::ordered_json told{{"devices", nlohmann::ordered_json::array({cpu})}};
    const cuda::DeviceList gpus = cuda::list_devices();
    for (size_t i = 0; i < gpus.devices.size(); ++i) {
      const cuda::DeviceSummary& gpu = gpus.devices[i];
      told["devices"].push_back({{"name", fmt::format("cuda:{}", i)},
                                 {"processor", gpu.name},
                                 {"memory_bytes", gpu.memory},
                                 {"free_bytes", gpu.free},
                                 {"capability", cuda::capability_text(gpu)},
                                 {"driver_cuda", cuda::driver_text(gpu)}});
    }
    if (gpus.devices.empty()) told["no_gpu"] = gpus.reason;
    *json = capi::handed_out(told.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  });
}
