// Any bytes as a video's attachment: they are read or refused, and what is read keeps every promise.
#include <xxhash.h>

#include <cstring>
#include <vector>

#include "base/error.hpp"
#include "video/attachment.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cairn;
  std::vector<std::byte> bytes(size);
  if (size != 0) std::memcpy(bytes.data(), data, size);
  if (size > 4) {  // a checksum that fits, so that what lies behind it is reached
    const uint32_t sum = XXH32(bytes.data(), size - 4, 0);
    std::memcpy(bytes.data() + size - 4, &sum, 4);
  }
  try {
    const video::Restoration r = video::read_attachment(bytes, "fuzz");
    for (const video::Network& network : r.networks) video::validate(network, "fuzz");
    if (video::network_of(r, 1u << 20) >= r.networks.size()) std::abort();
    if (video::read_attachment(video::write_attachment(r), "again").networks.size() != r.networks.size())
      std::abort();
  } catch (const Error&) {
  }
  return 0;
}
