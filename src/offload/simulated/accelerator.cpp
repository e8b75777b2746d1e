#include "offload/simulated/accelerator.hpp"

#include "base/error.hpp"
#include "offload/cpu_accelerator.hpp"
#include "offload/simulated/phone.hpp"

namespace cairn::offload::simulated {
namespace {

AcceleratorTraits traits(const std::string& device) {
  const PhoneConstants* phone = find_phone(device.empty() ? "snapdragon-8gen3" : device);
  if (phone == nullptr) {
    fail(ErrorCode::invalid_argument, "no simulated device '{}'; there are {}", device, phone_names());
  }
  AcceleratorTraits traits = cpu_traits();
  traits.name = fmt::format("simulated:{}", phone->name);
  traits.phone = phone;
  traits.usual_chunk = 256;  // what the CPU would measure says nothing of a phone
  return traits;
}

}  // namespace

AcceleratorKind kind() {
  return {
      .name = "simulated",
      .names = {"simulated"},
      .list =
          [] {
            return std::vector<AcceleratorInfo>{
                {"simulated", true,
                 "a phone's NPU on a virtual clock: the CPU's answer, the phone's timeline (also cairn bench "
                 "--simulate)"}};
          },
      .traits = traits,
      .make =
          [](const std::string& device, const AcceleratorOptions& options) {
            return make_cpu_accelerator(options, traits(device));
          }};
}

}  // namespace cairn::offload::simulated
