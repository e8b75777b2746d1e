#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <vector>

#include "formats/byte_reader.hpp"

namespace cairn::video {

// Seven bits a byte, low ones first, the top bit saying that more follow (LEB128).
inline void put_varint(std::vector<std::byte>& bytes, uint64_t value) {
  for (; value >= 128; value >>= 7) bytes.push_back(static_cast<std::byte>(value | 128));
  bytes.push_back(static_cast<std::byte>(value));
}

inline uint64_t take_varint(ByteReader& reader, const char* what) {
  uint64_t value = 0;
  for (uint32_t shift = 0; shift < 63; shift += 7) {
    const auto byte = reader.read<uint8_t>(what);
    value |= static_cast<uint64_t>(byte & 127) << shift;
    if ((byte & 128) == 0) return value;
  }
  reader.error(ErrorCode::format, "{} is no number of 63 bits", what);
}

template <class T>
void put(std::vector<std::byte>& bytes, T value) {
  for (const std::byte byte : std::bit_cast<std::array<std::byte, sizeof(T)>>(value)) bytes.push_back(byte);
}

}  // namespace cairn::video
