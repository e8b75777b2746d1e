#include "base/base64.hpp"

#include <openssl/evp.h>

#include "base/error.hpp"

namespace cairn {

std::string base64(std::span<const std::byte> bytes) {
  if (bytes.size() > (size_t{1} << 30))
    fail(ErrorCode::invalid_argument, "{} bytes are too many for base64", bytes.size());
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');  // OpenSSL ends it with a zero
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(length));
  return text;
}

}  // namespace cairn
