#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::cuda {

struct DeviceSummary {
  std::string name;       // "NVIDIA H200"
  uint64_t memory, free;  // bytes
  int32_t capability;     // 90: 9.0
  int32_t processors;     // streaming multiprocessors
  int32_t driver;         // the CUDA version that it knows: 13000 is 13.0
};
std::string capability_text(const DeviceSummary& device);  // "9.0"
std::string driver_text(const DeviceSummary& device);      // "13.0"
struct DeviceList {
  std::vector<DeviceSummary> devices;
  std::string reason;  // why there are none
};
// What libcairn_cuda.so finds, which is opened for it.
DeviceList list_devices();

// Which GPU "cuda" or "cuda:N" names. Error invalid_argument: neither.
uint32_t device_index(std::string_view name);

}  // namespace cairn::cuda
