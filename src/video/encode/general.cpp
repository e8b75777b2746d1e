#include "video/encode/general.hpp"

namespace cairn::video {

Network general_network(uint32_t scale) {
  return make_network({Architecture::Kind::linear, 0, 0, 1}, scale);
}

}  // namespace cairn::video
