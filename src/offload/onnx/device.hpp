// What ONNX Runtime can compute on: its execution providers, and how each wants int8 products written.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "offload/onnx/chips.hpp"
#include "offload/onnx/library.hpp"
#include "offload/onnx/model.hpp"
#include "offload/registry.hpp"

namespace cairn::offload::onnx {

struct Device {
  std::shared_ptr<const Library> library;
  std::string name;                    // "onnx:QNN", "qnn:snapdragon-8gen2"
  const EpDevice* provider = nullptr;  // null: the library's own CPU code
  Form form = Form::floats;
  const Chip* chip = nullptr;  // QNN: what is compiled for; null: the chip that this is
  bool processors = false;     // it computes on the CPU: an emulator, or the CPU's provider
  bool contexts = false;       // its compiled graphs can be kept (EPContext)
  uint32_t threads = 0;        // of the CPU's provider
  std::vector<std::pair<std::string, std::string>> options{};
  std::string fingerprint;  // what a compiled graph is good for
};

// device: what stands behind "onnx:": "CPU", "QNN", "QNN:CHIP", another provider's name, "OpenVINO:NPU".
// Errors: not_found (no ONNX Runtime, no such plug-in or device: says why), invalid_argument (a name that no
// provider has, an unknown chip), unsupported (another library than cairn can use).
Device open_device(const std::string& device, uint32_t threads);

// Of a device that may not be here. Error invalid_argument: an unknown chip.
AcceleratorTraits traits_of(const std::string& kind, const std::string& device);

// For `cairn devices`. Does not fail.
std::vector<AcceleratorInfo> list_devices();

// A session of a model in memory (kept while the session lives) or in a file; entries: keys and values of the
// session's configuration. Error of `code`, saying the library's reason.
Handle<Session> make_session(const Device& device, std::span<const std::byte> model, const std::string& path,
                             const std::vector<std::pair<std::string, std::string>>& entries, ErrorCode code,
                             const std::string& what);

}  // namespace cairn::offload::onnx
