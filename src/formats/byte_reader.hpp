#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.hpp"

namespace cairn {

static_assert(std::endian::native == std::endian::little, "files are little-endian and are read in place");

// Walks over a file's bytes; every read is checked against what is left. Errors name file, offset, reason.
class ByteReader {
 public:
  ByteReader(std::span<const std::byte> bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  const std::string& path() const noexcept { return path_; }
  uint64_t offset() const noexcept { return offset_; }
  uint64_t remaining() const noexcept { return bytes_.size() - offset_; }

  template <class T>
  T read(const char* what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  std::span<const std::byte> take(uint64_t count, const char* what) {
    if (count > remaining())
      error(ErrorCode::format, "{} needs {} bytes, {} are left in the file", what, count, remaining());
    const auto taken = bytes_.subspan(offset_, count);
    offset_ += count;
    return taken;
  }

  // GGUF's string: a 64-bit length, then the bytes.
  std::string_view string(const char* what) {
    const uint64_t start = offset_;
    const auto length = read<uint64_t>(what);
    if (length > remaining())
      error_at(start, ErrorCode::format, "{} is {} bytes long, {} are left in the file", what, length,
               remaining());
    const auto bytes = take(length, what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  // A count of things that take at least `least_bytes` each, refused when the file cannot hold them: no
  // memory is reserved for counts that cannot be true.
  uint64_t count(uint64_t least_bytes, const char* what) {
    const uint64_t start = offset_;
    const auto value = read<uint64_t>(what);
    if (value > remaining() / least_bytes)
      error_at(start, ErrorCode::format, "{} is {}, more than the {} bytes left can hold", what, value,
               remaining());
    return value;
  }

  template <class... Args>
  [[noreturn]] void error(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) const {
    error_at(offset_, code, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  [[noreturn]] void error_at(uint64_t offset, ErrorCode code, fmt::format_string<Args...> format,
                             Args&&... args) const {
    fail(code, "{}: byte {}: {}", path_, offset, fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& path_;
  uint64_t offset_ = 0;
};

// Text from a file, safe to print in one line: what is longer than `longest` bytes is cut, control characters
// and broken UTF-8 are escaped.
std::string quote(std::string_view text, size_t longest = 80);

}  // namespace cairn
