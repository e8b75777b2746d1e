#include "offload/registry.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.hpp"
#include "offload/cpu_accelerator.hpp"
#include "offload/onnx/accelerator.hpp"
#include "offload/openvino/accelerator.hpp"
#include "offload/simulated/accelerator.hpp"

namespace cairn::offload {
namespace {

std::vector<AcceleratorKind>& kinds() {
  static std::vector<AcceleratorKind> all = {cpu_kind(), simulated::kind(), openvino::kind(), onnx::kind(),
                                             onnx::qnn_kind()};
  return all;
}

const AcceleratorKind& kind_of(std::string_view name) {
  const std::string_view kind = name.substr(0, name.find(':'));
  const auto found = std::ranges::find(kinds(), kind, &AcceleratorKind::name);
  if (found != kinds().end()) return *found;
  std::vector<std::string> names;
  for (const AcceleratorKind& each : kinds()) names.insert(names.end(), each.names.begin(), each.names.end());
  fail(ErrorCode::invalid_argument, "no device is called '{}': there are {}", name, fmt::join(names, ", "));
}

std::string device_of(std::string_view name) {
  const size_t colon = name.find(':');
  return std::string(colon == std::string_view::npos ? std::string_view() : name.substr(colon + 1));
}

}  // namespace

void add_accelerators(AcceleratorKind kind) {
  const auto found = std::ranges::find(kinds(), kind.name, &AcceleratorKind::name);
  if (found != kinds().end())
    *found = std::move(kind);
  else
    kinds().push_back(std::move(kind));
}

std::vector<AcceleratorInfo> list_accelerators() {
  std::vector<AcceleratorInfo> all;
  for (const AcceleratorKind& kind : kinds()) {
    for (AcceleratorInfo& info : kind.list()) all.push_back(std::move(info));
  }
  return all;
}

AcceleratorTraits accelerator_traits(std::string_view name) {
  return kind_of(name).traits(device_of(name));
}

std::unique_ptr<Accelerator> make_accelerator(std::string_view name, const AcceleratorOptions& options) {
  return kind_of(name).make(device_of(name), options);
}

}  // namespace cairn::offload
