#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "offload/openvino/library.hpp"

namespace cairn::offload::openvino {

// OpenVINO started, with the one device that an accelerator uses and its properties set.
struct Device {
  std::shared_ptr<const Library> library;
  Handle<Core> core;
  std::string name;         // "CPU"
  std::string setting;      // "CPU-2": with its threads, as two settings' blobs are kept beside each other
  std::string fingerprint;  // library, device, driver: blobs of another are not used
  bool on_cpu() const { return name == "CPU"; }
};

// name: as OpenVINO gives it. threads: for the CPU. Errors: those of make_openvino_accelerator().
Device open_device(const std::string& name, uint32_t threads);

}  // namespace cairn::offload::openvino
