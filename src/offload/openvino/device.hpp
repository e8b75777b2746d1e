#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "offload/openvino/library.hpp"
#include "offload/registry.hpp"

namespace cairn::offload::openvino {

// What differs between the kinds of devices that OpenVINO drives.
struct DeviceKind {
  std::string_view name;  // OpenVINO's: "GPU"; "GPU.1" is of it too
  const char* driver;     // the property that tells the driver's version; null: it has none
  const char* missing;    // why one may not be listed, before the driver's own reason; null: the library's
  bool precision;         // takes a hint how floats are computed
  bool processors;        // computes on cairn's own processors, by threads
};

// Error invalid_argument: OpenVINO has no such devices.
const DeviceKind& kind_of(const std::string& device);

// openvino:NAME of what OpenVINO finds, and of the kinds that it does not. Never fails.
std::vector<AcceleratorInfo> list_devices();

// OpenVINO started, with the one device that an accelerator uses and its properties set.
struct Device {
  std::shared_ptr<const Library> library;
  Handle<Core> core;
  const DeviceKind* kind;
  std::string name;         // "CPU"
  std::string setting;      // "CPU-2": with its threads, as two settings' blobs are kept beside each other
  std::string fingerprint;  // library, device, driver: blobs of another are not used
};

// name: as OpenVINO gives it. threads: for the CPU. Errors: those of make_openvino_accelerator().
Device open_device(const std::string& name, uint32_t threads);

}  // namespace cairn::offload::openvino
