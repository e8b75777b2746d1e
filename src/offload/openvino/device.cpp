#include "offload/openvino/device.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.hpp"
#include "kernels/kernels.hpp"
#include "offload/openvino/accelerator.hpp"

namespace cairn::offload {
namespace openvino {
namespace {

const std::vector<std::string> kKinds = {"CPU", "GPU", "NPU"};

std::string kind_of(const std::string& name) {
  return name.substr(0, name.find('.'));
}

// Of a kind of device that OpenVINO does not list.
std::string why_missing(const Library& library, const Core* core, const std::string& kind) {
  std::string why;
  if (kind == "NPU") {
    library.property(core, kind, "NPU_DRIVER_VERSION", &why);
    return fmt::format("no Intel NPU with a driver ({})", why);
  }
  library.property(core, kind, "FULL_DEVICE_NAME", &why);
  return why.empty() ? "OpenVINO lists no such device" : why;
}

std::string driver_of(const Library& library, const Core* core, const std::string& name) {
  const std::string kind = kind_of(name);
  if (kind == "NPU") return library.property(core, name, "NPU_DRIVER_VERSION");
  return kind == "GPU" ? library.property(core, name, "DRIVER_VERSION") : "";
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

Device open_device(const std::string& name, uint32_t threads) {
  if (std::ranges::find(kKinds, kind_of(name)) == kKinds.end()) {
    fail(ErrorCode::invalid_argument, "openvino:{}: OpenVINO's devices are {}", name,
         fmt::join(kKinds, ", "));
  }
  std::shared_ptr<const Library> library = Library::open();
  Handle<Core> core = library->create_core();
  const std::vector<std::string> found = library->devices(core.get());
  const bool known = std::ranges::any_of(found, [&](const std::string& device) {
    return device == name || kind_of(device) == name;  // "GPU" stands for the first of "GPU.0", "GPU.1"
  });
  if (!known) {
    fail(ErrorCode::not_found, "openvino:{} is not here: {}", name,
         why_missing(*library, core.get(), kind_of(name)));
  }
  Device device{std::move(library), std::move(core), name, name, ""};
  if (device.on_cpu()) device.setting += fmt::format("-{}", threads);
  set(device, "PERFORMANCE_HINT", "LATENCY", false);
  if (kind_of(name) != "NPU") set(device, "INFERENCE_PRECISION_HINT", "f32", device.on_cpu());
  if (device.on_cpu()) {
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
                  device.on_cpu() ? threads : 0, fmt::join(sets, " "));
  return device;
}

}  // namespace openvino

std::vector<AcceleratorInfo> list_openvino_devices() {
  using namespace openvino;
  std::vector<AcceleratorInfo> list;
  try {
    const std::shared_ptr<const Library> library = Library::open();
    const Handle<Core> core = library->create_core();
    std::vector<std::string> found = library->devices(core.get());
    std::set<std::string> kinds;
    for (const std::string& name : found) {
      kinds.insert(kind_of(name));
      const std::string driver = driver_of(*library, core.get(), name);
      list.push_back(
          {"openvino:" + name, true,
           fmt::format("{}{}{}, OpenVINO {}", library->property(core.get(), name, "FULL_DEVICE_NAME"),
                       driver.empty() ? "" : ", driver ", driver, library->version())});
    }
    for (const std::string& kind : kKinds) {
      if (!kinds.contains(kind)) {
        list.push_back({"openvino:" + kind, false, why_missing(*library, core.get(), kind)});
      }
    }
  } catch (const Error& error) {
    list.clear();
    for (const std::string& kind : kKinds) list.push_back({"openvino:" + kind, false, error.what()});
  }
  return list;
}

}  // namespace cairn::offload
