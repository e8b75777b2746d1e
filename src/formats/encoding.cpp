#include "formats/encoding.hpp"

#include <algorithm>
#include <array>

#include "base/error.hpp"

namespace cairn {
namespace {

// Block sizes as in ggml's ggml-common.h.
constexpr std::array<EncodingInfo, 16> kEncodings{{
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
    {Encoding::iq4_nl, "iq4_nl", 32, 2 + 16},
    {Encoding::iq4_xs, "iq4_xs", 256, 2 + 2 + 4 + 128},
    {Encoding::bf16, "bf16", 1, 2},
    {Encoding::mxfp4, "mxfp4", 32, 1 + 16},
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

const EncodingInfo& info(Encoding encoding) {
  const auto* found = find_encoding(static_cast<uint32_t>(encoding));
  if (!found) fail(ErrorCode::unsupported, "encoding {} is not known", static_cast<uint32_t>(encoding));
  return *found;
}

}  // namespace cairn
