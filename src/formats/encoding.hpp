#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace cairn {

// How a tensor's numbers are stored. Values are GGUF's own type numbers.
enum class Encoding : uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  iq2_xxs = 16,
  iq2_xs = 17,
  iq3_xxs = 18,
  iq1_s = 19,
  iq4_nl = 20,
  iq3_s = 21,
  iq2_s = 22,
  iq4_xs = 23,
  iq1_m = 29,
  bf16 = 30,
  tq1_0 = 34,
  tq2_0 = 35,
  mxfp4 = 39,
  nvfp4 = 40,
  q1_0 = 41,
};

struct EncodingInfo {
  Encoding encoding;
  std::string_view name;    // lower case, as llama.cpp names it: "q4_0", "q4_k"
  uint32_t block_elements;  // elements a block: 1, 32, 64, 128 or 256
  uint32_t block_bytes;
};

// All encodings that cairn reads, in ascending order of their number.
std::span<const EncodingInfo> encodings();

// nullptr when the type is not one of ours.
const EncodingInfo* find_encoding(uint32_t gguf_type);
const EncodingInfo* find_encoding(std::string_view name);
// What an error calls a type: its number, and its name where GGUF has one that cairn does not read: "15
// (q8_k)".
std::string unread_encoding(uint32_t gguf_type);
// Throws Error unsupported for a value that is not in encodings().
const EncodingInfo& info(Encoding encoding);

}  // namespace cairn
