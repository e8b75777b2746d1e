#pragma once

#include <memory>
#include <string>
#include <vector>

#include "offload/openvino/ir.hpp"
#include "offload/registry.hpp"

namespace cairn::offload {

// device: OpenVINO's name, "CPU", "NPU", "GPU", "GPU.1". On the CPU weights are inputs, so that all layers
// and prompts share one compiled graph a shape and the weights one copy in the cache's files; elsewhere they
// are compiled in. Errors: not_found (no OpenVINO, no such device: says why), invalid_argument (not a name
// that OpenVINO gives devices), unsupported (another OpenVINO than cairn can use).
std::unique_ptr<Accelerator> make_openvino_accelerator(const std::string& device,
                                                       const AcceleratorOptions& options);
std::unique_ptr<Accelerator> make_openvino_accelerator(const std::string& device,
                                                       const AcceleratorOptions& options,
                                                       openvino::WeightPlacement placement);

namespace openvino {

// openvino:CPU, openvino:GPU, openvino:NPU and whatever else OpenVINO finds.
AcceleratorKind kind();

}  // namespace openvino

}  // namespace cairn::offload
