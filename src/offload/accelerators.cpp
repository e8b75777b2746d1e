#include "base/error.hpp"
#include "base/machine.hpp"
#include "offload/accelerator.hpp"
#include "offload/cpu_accelerator.hpp"
#include "offload/openvino/accelerator.hpp"

namespace cairn::offload {
namespace {

constexpr std::string_view kOpenvino = "openvino:";

}  // namespace

std::vector<AcceleratorInfo> list_accelerators() {
  std::vector<AcceleratorInfo> list = {
      {"cpu", true, processor_name() + ", int8 products on some threads, float on the others"},
      {"simulated", true,
       "a phone's NPU on a virtual clock: the CPU's answer, the phone's timeline (also cairn bench "
       "--simulate)"},
  };
  for (AcceleratorInfo& info : list_openvino_devices()) list.push_back(std::move(info));
  return list;
}

std::unique_ptr<Accelerator> make_accelerator(std::string_view name, const AcceleratorOptions& options) {
  if (name == "cpu") return make_cpu_accelerator(options);
  if (name == "simulated") {
    fail(ErrorCode::invalid_argument,
         "simulated has a clock and computes nothing: see cairn bench --simulate");
  }
  if (name.starts_with(kOpenvino)) {
    return make_openvino_accelerator(std::string(name.substr(kOpenvino.size())), options);
  }
  fail(ErrorCode::invalid_argument,
       "no device is called '{}': there are cpu, openvino:CPU, openvino:GPU and openvino:NPU", name);
}

}  // namespace cairn::offload
