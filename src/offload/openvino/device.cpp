#include "offload/openvino/device.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "base/error.hpp"
#include "kernels/kernels.hpp"

namespace cairn::offload::openvino {
namespace {

constexpr std::array<DeviceKind, 3> kKinds = {{
    {.name = "CPU", .driver = nullptr, .missing = nullptr, .precision = true, .processors = true},
    {.name = "GPU", .driver = "DRIVER_VERSION", .missing = nullptr, .precision = true, .processors = false},
    {.name = "NPU",
     .driver = "NPU_DRIVER_VERSION",
     .missing = "no Intel NPU with a driver",
     .precision = false,
     .processors = false},
}};

std::string_view kind_name(std::string_view device) {
  return device.substr(0, device.find('.'));
}

// Null: of another kind than those above.
const DeviceKind* find_kind(std::string_view device) {
  const auto found = std::ranges::find(kKinds, kind_name(device), &DeviceKind::name);
  return found == kKinds.end() ? nullptr : &*found;
}

// Of a kind of device that OpenVINO does not list.
std::string why_missing(const Library& library, const Core* core, const DeviceKind& kind) {
  std::string why;
  if (kind.missing != nullptr) {
    library.property(core, std::string(kind.name), kind.driver, &why);
    return fmt::format("{} ({})", kind.missing, why);
  }
  library.property(core, std::string(kind.name), "FULL_DEVICE_NAME", &why);
  return why.empty() ? "OpenVINO lists no such device" : why;
}

std::string driver_of(const Library& library, const Core* core, const std::string& name) {
  const DeviceKind* kind = find_kind(name);
  return kind == nullptr || kind->driver == nullptr ? "" : library.property(core, name, kind->driver);
}

void set(const Device& device, const char* key, const std::string& value, bool needed) {
  const Library& library = *device.library;
  if (library.api().core_set_property(device.core.get(), device.name.c_str(), key, value.c_str()) == 0)
    return;
  if (needed) {
    fail(ErrorCode::unsupported, "openvino:{} does not take {} = {}: {}", device.name, key, value,
         library.last_error());
  }
}

}  // namespace

const DeviceKind& kind_of(const std::string& device) {
  if (const DeviceKind* kind = find_kind(device)) return *kind;
  std::vector<std::string_view> names;
  for (const DeviceKind& kind : kKinds) names.push_back(kind.name);
  fail(ErrorCode::invalid_argument, "openvino{}{}: OpenVINO's devices are {}", device.empty() ? "" : ":",
       device, fmt::join(names, ", "));
}

Device open_device(const std::string& name, uint32_t threads) {
  const DeviceKind& kind = kind_of(name);
  std::shared_ptr<const Library> library = Library::open();
  Handle<Core> core = library->create_core();
  const std::vector<std::string> found = library->devices(core.get());
  const bool known = std::ranges::any_of(found, [&](const std::string& device) {
    return device == name || kind_name(device) == name;  // "GPU" stands for the first of "GPU.0", "GPU.1"
  });
  if (!known) {
    fail(ErrorCode::not_found, "openvino:{} is not here: {}", name, why_missing(*library, core.get(), kind));
  }
  Device device{std::move(library), std::move(core), &kind, name, name, ""};
  if (kind.processors) device.setting += fmt::format("-{}", threads);
  set(device, "PERFORMANCE_HINT", "LATENCY", false);
  if (kind.precision) set(device, "INFERENCE_PRECISION_HINT", "f32", kind.processors);
  if (kind.processors) {
    set(device, "INFERENCE_NUM_THREADS", std::to_string(threads), true);
    set(device, "NUM_STREAMS", "1", true);
    set(device, "ENABLE_CPU_PINNING", "NO", false);              // cairn's own threads run on the same cores
    set(device, "DYNAMIC_QUANTIZATION_GROUP_SIZE", "0", false);  // never quantises what is already int8
  }

  std::vector<std::string> sets;
  for (const kernels::Target target : kernels::available_targets()) sets.emplace_back(kernels::name(target));
  device.fingerprint =
      fmt::format("openvino {}\n{} {}\ndriver {}\ncan {}\nthreads {}\nsets {}\n", device.library->version(),
                  name, device.library->property(device.core.get(), name, "FULL_DEVICE_NAME"),
                  driver_of(*device.library, device.core.get(), name),
                  device.library->property(device.core.get(), name, "OPTIMIZATION_CAPABILITIES"),
                  kind.processors ? threads : 0, fmt::join(sets, " "));
  return device;
}

std::vector<AcceleratorInfo> list_devices() {
  std::vector<AcceleratorInfo> list;
  try {
    const std::shared_ptr<const Library> library = Library::open();
    const Handle<Core> core = library->create_core();
    const std::vector<std::string> found = library->devices(core.get());
    std::set<std::string_view> kinds;
    for (const std::string& name : found) {
      kinds.insert(kind_name(name));
      const std::string driver = driver_of(*library, core.get(), name);
      list.push_back(
          {"openvino:" + name, true,
           fmt::format("{}{}{}, OpenVINO {}", library->property(core.get(), name, "FULL_DEVICE_NAME"),
                       driver.empty() ? "" : ", driver ", driver, library->version())});
    }
    for (const DeviceKind& kind : kKinds) {
      if (!kinds.contains(kind.name))
        list.push_back(
            {fmt::format("openvino:{}", kind.name), false, why_missing(*library, core.get(), kind)});
    }
  } catch (const Error& error) {
    list.clear();
    for (const DeviceKind& kind : kKinds)
      list.push_back({fmt::format("openvino:{}", kind.name), false, error.what()});
  }
  return list;
}

}  // namespace cairn::offload::openvino
