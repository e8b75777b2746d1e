#include "video/encode/general_network.hpp"

#include <array>

#include "base/error.hpp"
#include "video/attachment.hpp"
#include "video/general_networks.inc"  // kGeneralX1 … kGeneralX4, made of general/*.bin by CMake

namespace cairn::video {
namespace {

Restoration read(std::span<const unsigned char> bytes, uint32_t scale) {
  return read_attachment(std::as_bytes(bytes), fmt::format("the general network for x{}", scale));
}

const Restoration& shipped(uint32_t scale) {
  static const std::array<Restoration, kMaxScale> all = {read(kGeneralX1, 1), read(kGeneralX2, 2),
                                                         read(kGeneralX3, 3), read(kGeneralX4, 4)};
  if (scale < 1 || scale > kMaxScale) fail(ErrorCode::invalid_argument, "scale {}: it is 1 … 4", scale);
  return all[scale - 1];
}

}  // namespace

const Network* general_network(const Architecture& architecture, uint32_t scale) {
  const Restoration& restoration = shipped(scale);
  return restoration.architectures[0].name() == architecture.name() ? &restoration.networks[0] : nullptr;
}

const Network& scoring_network(uint32_t scale) {
  return shipped(scale).networks[0];
}

}  // namespace cairn::video
