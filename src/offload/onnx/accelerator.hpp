#pragma once

#include <memory>
#include <string>

#include "offload/registry.hpp"

namespace cairn::offload::onnx {

// onnx:PROVIDER, for every execution provider that ONNX Runtime has or opens.
AcceleratorKind kind();
// qnn and qnn:CHIP: onnx:QNN, Qualcomm's Hexagon; on x86-64 its emulator.
AcceleratorKind qnn_kind();

// device: as open_device takes it. Errors: of open_device; with options.bundle also those of Bundle::read,
// and unsupported (a bundle for another chip or library).
std::unique_ptr<Accelerator> make_accelerator(const std::string& device, const AcceleratorTraits& traits,
                                              const AcceleratorOptions& options);

}  // namespace cairn::offload::onnx
