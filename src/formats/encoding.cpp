#include "formats/encoding.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.hpp"

namespace cairn {
namespace {

// Block sizes as in ggml's ggml-common.h.
constexpr std::array<EncodingInfo, 27> kEncodings{{
    {Encoding::f32, "f32", 1, 4},
    {Encoding::f16, "f16", 1, 2},
    {Encoding::q4_0, "q4_0", 32, 2 + 16},
    {Encoding::q4_1, "q4_1", 32, 2 + 2 + 16},
    {Encoding::q5_0, "q5_0", 32, 2 + 4 + 16},
    {Encoding::q5_1, "q5_1", 32, 2 + 2 + 4 + 16},
    {Encoding::q8_0, "q8_0", 32, 2 + 32},
    {Encoding::q2_k, "q2_k", 256, 16 + 64 + 2 + 2},
    {Encoding::q3_k, "q3_k", 256, 32 + 64 + 12 + 2},
    {Encoding::q4_k, "q4_k", 256, 2 + 2 + 12 + 128},
    {Encoding::q5_k, "q5_k", 256, 2 + 2 + 12 + 32 + 128},
    {Encoding::q6_k, "q6_k", 256, 128 + 64 + 16 + 2},
    {Encoding::iq2_xxs, "iq2_xxs", 256, 2 + 64},
    {Encoding::iq2_xs, "iq2_xs", 256, 2 + 64 + 8},
    {Encoding::iq3_xxs, "iq3_xxs", 256, 2 + 64 + 32},
    {Encoding::iq1_s, "iq1_s", 256, 2 + 32 + 16},
    {Encoding::iq4_nl, "iq4_nl", 32, 2 + 16},
    {Encoding::iq3_s, "iq3_s", 256, 2 + 64 + 8 + 32 + 4},
    {Encoding::iq2_s, "iq2_s", 256, 2 + 32 + 32 + 8 + 8},
    {Encoding::iq4_xs, "iq4_xs", 256, 2 + 2 + 4 + 128},
    {Encoding::iq1_m, "iq1_m", 256, 32 + 16 + 8},
    {Encoding::bf16, "bf16", 1, 2},
    {Encoding::tq1_0, "tq1_0", 256, 32 + 16 + 4 + 2},
    {Encoding::tq2_0, "tq2_0", 256, 64 + 2},
    {Encoding::mxfp4, "mxfp4", 32, 1 + 16},
    {Encoding::nvfp4, "nvfp4", 64, 4 + 32},
    {Encoding::q1_0, "q1_0", 128, 2 + 16},
}};

const EncodingInfo* find(auto predicate) {
  const auto found = std::find_if(kEncodings.begin(), kEncodings.end(), predicate);
  return found == kEncodings.end() ? nullptr : &*found;
}

}  // namespace

std::span<const EncodingInfo> encodings() {
  return kEncodings;
}

const EncodingInfo* find_encoding(uint32_t gguf_type) {
  return find([=](const EncodingInfo& e) { return static_cast<uint32_t>(e.encoding) == gguf_type; });
}

const EncodingInfo* find_encoding(std::string_view name) {
  return find([=](const EncodingInfo& e) { return e.name == name; });
}

std::string unread_encoding(uint32_t gguf_type) {
  // q8_1 and q8_k are activations' while a product runs; those of Arm's layouts and the first ones left the
  // format; q2_0 is younger than the reference package.
  static constexpr std::pair<uint32_t, std::string_view> kNames[] = {
      {4, "q4_2"},        {5, "q4_3"},        {9, "q8_1"},        {15, "q8_k"},
      {24, "i8"},         {25, "i16"},        {26, "i32"},        {27, "i64"},
      {28, "f64"},        {31, "q4_0_4_4"},   {32, "q4_0_4_8"},   {33, "q4_0_8_8"},
      {36, "iq4_nl_4_4"}, {37, "iq4_nl_4_8"}, {38, "iq4_nl_8_8"}, {42, "q2_0"}};
  for (const auto& [type, name] : kNames)
    if (type == gguf_type) return fmt::format("{} ({})", type, name);
  return fmt::format("{}", gguf_type);
}

const EncodingInfo& info(Encoding encoding) {
  const auto* found = find_encoding(static_cast<uint32_t>(encoding));
  if (!found) fail(ErrorCode::unsupported, "encoding {} is not known", static_cast<uint32_t>(encoding));
  return *found;
}

}  // namespace cairn
