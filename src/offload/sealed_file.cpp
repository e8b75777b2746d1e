#include "offload/sealed_file.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <bit>
#include <cstring>
#include <filesystem>
#include <memory>
#include <new>
#include <utility>

#include "base/atomic_file.hpp"
#include "base/error.hpp"

namespace cairn::offload {
namespace {

// The file's last bytes; the identity stands before them, the content before that.
struct Seal {
  uint64_t content_bytes;
  uint64_t checksum;  // XXH3 of content, identity and tag
  uint32_t identity_bytes;
  uint32_t tag;
  char magic[8];
};
static_assert(sizeof(Seal) == 32 && std::endian::native == std::endian::little);
constexpr char kMagic[8] = {'c', 'a', 'i', 'r', 'n', 'S', 'F', '1'};

class Checksum {
 public:
  Checksum() : state_(XXH3_createState()) {
    if (!state_ || XXH3_64bits_reset(state_.get()) != XXH_OK) throw std::bad_alloc();
  }
  void update(std::span<const std::byte> bytes) {
    XXH3_64bits_update(state_.get(), bytes.data(), bytes.size());
  }
  uint64_t value() const { return XXH3_64bits_digest(state_.get()); }

 private:
  struct Deleter {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Deleter> state_;
};

}  // namespace

std::optional<SealedFile> open_sealed(const std::string& path, const std::string& identity,
                                      std::string* why) {
  why->clear();
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return {};
  const auto refuse = [&](const char* reason) {
    *why = fmt::format("{}: {}", path, reason);
    return std::nullopt;
  };
  SealedFile sealed;
  try {
    sealed.file = MappedFile(path);
  } catch (const Error& error) {
    *why = error.what();
    return {};
  }
  const std::span<const std::byte> bytes = sealed.file.bytes();
  Seal seal = {};
  if (bytes.size() < sizeof(seal)) return refuse("is cut short");
  std::memcpy(&seal, bytes.data() + bytes.size() - sizeof(seal), sizeof(seal));
  if (std::memcmp(seal.magic, kMagic, sizeof(kMagic)) != 0) return refuse("is corrupt (no seal at its end)");
  const size_t body = bytes.size() - sizeof(seal);
  if (seal.identity_bytes > body || seal.content_bytes != body - seal.identity_bytes) {
    return refuse("is corrupt (its lengths contradict each other)");
  }
  const std::span<const std::byte> own = bytes.subspan(seal.content_bytes, seal.identity_bytes);
  if (own.size() != identity.size() || std::memcmp(own.data(), identity.data(), own.size()) != 0) {
    return refuse("is of another version, driver, device or model");
  }
  Checksum checksum;
  checksum.update(bytes.first(body));
  checksum.update(std::as_bytes(std::span(&seal.tag, 1)));
  if (checksum.value() != seal.checksum) return refuse("is corrupt (its checksum is wrong)");
  sealed.tag = seal.tag;
  sealed.size = seal.content_bytes;
  return sealed;
}

void write_sealed(const std::string& path, const std::string& identity, uint32_t tag,
                  const std::function<void(const std::function<void(std::span<const std::byte>)>&)>& body) {
  AtomicFile file(path);
  Checksum checksum;
  Seal seal = {};
  body([&](std::span<const std::byte> part) {
    file.write(part);
    checksum.update(part);
    seal.content_bytes += part.size();
  });
  file.write(identity);
  checksum.update(std::as_bytes(std::span(identity)));
  checksum.update(std::as_bytes(std::span(&tag, 1)));
  seal.checksum = checksum.value();
  seal.identity_bytes = static_cast<uint32_t>(identity.size());
  seal.tag = tag;
  std::memcpy(seal.magic, kMagic, sizeof(kMagic));
  file.write(std::as_bytes(std::span(&seal, 1)));
  file.commit();
}

}  // namespace cairn::offload
