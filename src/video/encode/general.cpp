#include "video/encode/general.hpp"

namespace cairn::video {

std::optional<Network> general_network(uint32_t) {
  return std::nullopt;
}

}  // namespace cairn::video
