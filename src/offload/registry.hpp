// The matrix engines that there are, by name: KIND, or KIND:DEVICE where a kind has several.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "offload/accelerator.hpp"

namespace cairn::offload {

// What `cairn devices` tells of one matrix engine.
struct AcceleratorInfo {
  std::string name;  // as --prefill takes it: "openvino:CPU"
  bool available = false;
  std::string detail;  // the device's full name and driver, or why it is not there
};

// `device` is what stands behind the colon, empty where nothing does.
struct AcceleratorKind {
  std::string name;                // what stands before the colon
  std::vector<std::string> names;  // of its usual devices, for messages: "openvino:CPU", "openvino:NPU"
  // Devices, available or not. Does not fail.
  std::function<std::vector<AcceleratorInfo>()> list;
  // Of a device, here or not. Error invalid_argument: none of this kind has that name.
  std::function<AcceleratorTraits(const std::string& device)> traits;
  // Errors: as traits; not_found (not on this machine: says why), unsupported.
  std::function<std::unique_ptr<Accelerator>(const std::string& device, const AcceleratorOptions& options)>
      make;
};

// cpu, simulated and openvino are there from the beginning; this adds one, or replaces the one of that name.
// Before others ask: not thread-safe.
void add_accelerators(AcceleratorKind kind);

// Of every kind, available or not.
std::vector<AcceleratorInfo> list_accelerators();
// name: "cpu", "openvino:NPU", … Errors: invalid_argument (no such name).
AcceleratorTraits accelerator_traits(std::string_view name);
// Errors: as accelerator_traits; not_found (not on this machine: says why), and the kind's own.
std::unique_ptr<Accelerator> make_accelerator(std::string_view name, const AcceleratorOptions& options);

}  // namespace cairn::offload
