// Files of a cache: their content, then what they are for and a checksum, so that one that is cut, damaged or
// made for something else is never used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "base/mapped_file.hpp"

namespace cairn::offload {

struct SealedFile {
  MappedFile file;
  uint32_t tag = 0;
  size_t size = 0;  // of the content, which the file begins with (page-aligned in memory)
  std::span<const std::byte> content() const { return file.bytes().first(size); }
};

// identity: whatever must be the same for the content to be right (versions, device, shapes). Nothing where
// there is no such file; nothing and a reason in `why` where it is not to be used.
std::optional<SealedFile> open_sealed(const std::string& path, const std::string& identity, std::string* why);

// Writes it whole or not at all: body calls its argument with the parts of the content, one after another.
// tag: a number of the caller's. Error io.
void write_sealed(const std::string& path, const std::string& identity, uint32_t tag,
                  const std::function<void(const std::function<void(std::span<const std::byte>)>&)>& body);

}  // namespace cairn::offload
