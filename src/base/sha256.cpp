#include "base/sha256.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/mapped_file.hpp"
#include "base/progress.hpp"

namespace cairn {

void Sha256::Deleter::operator()(evp_md_ctx_st* state) const noexcept {
  EVP_MD_CTX_free(state);
}

Sha256::Sha256() : state_(EVP_MD_CTX_new()) {
  if (!state_ || EVP_DigestInit_ex(state_.get(), EVP_sha256(), nullptr) != 1) {
    fail(ErrorCode::out_of_memory, "sha256: OpenSSL cannot start a digest");
  }
}

void Sha256::update(std::span<const std::byte> bytes) {
  if (EVP_DigestUpdate(state_.get(), bytes.data(), bytes.size()) != 1) {
    fail(ErrorCode::io, "sha256: OpenSSL refused {} bytes", bytes.size());
  }
}

std::string Sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest = {};
  unsigned size = 0;
  if (EVP_DigestFinal_ex(state_.get(), digest.data(), &size) != 1) {
    fail(ErrorCode::io, "sha256: OpenSSL cannot finish the digest");
  }
  std::string text;
  for (unsigned i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

std::string sha256_of_file(const std::string& path) {
  constexpr size_t kStep = size_t{4} << 20;
  const MappedFile file(path);
  std::span<const std::byte> rest = file.bytes();
  Progress progress("checking " + path.substr(path.rfind('/') + 1), rest.size());
  Sha256 digest;
  while (!rest.empty()) {
    throw_if_interrupted();
    const auto step = rest.first(std::min(kStep, rest.size()));
    digest.update(step);
    rest = rest.subspan(step.size());
    progress.advance(step.size());
  }
  return digest.hex();
}

}  // namespace cairn
