#include "encode/file_type.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>
#include <utility>

#include "base/error.hpp"

namespace cairn::encode {
namespace {

// Names and numbers as in llama.cpp's llama.h (llama_ftype); pure "mxfp4" is our own, with the number of the
// mix.
constexpr std::array<FileType, 34> kTypes{{
    {"iq1_s", 24, Encoding::iq1_s},     {"tq1_0", 36, Encoding::tq1_0},   {"iq1_m", 31, Encoding::iq1_m},
    {"iq2_xxs", 19, Encoding::iq2_xxs}, {"tq2_0", 37, Encoding::tq2_0},   {"iq2_xs", 20, Encoding::iq2_xs},
    {"iq2_s", 28, Encoding::iq2_xs},    {"iq2_m", 29, Encoding::iq2_s},   {"iq3_xxs", 23, Encoding::iq3_xxs},
    {"iq3_xs", 22, Encoding::iq3_s},    {"iq3_s", 26, Encoding::iq3_s},   {"iq3_m", 27, Encoding::iq3_s},
    {"q2_k_s", 21, Encoding::q2_k},     {"q2_k", 10, Encoding::q2_k},     {"q3_k_s", 11, Encoding::q3_k},
    {"q3_k_m", 12, Encoding::q3_k},     {"q3_k_l", 13, Encoding::q3_k},   {"mxfp4", 38, Encoding::mxfp4},
    {"mxfp4_moe", 38, Encoding::mxfp4}, {"iq4_xs", 30, Encoding::iq4_xs}, {"q4_0", 2, Encoding::q4_0},
    {"iq4_nl", 25, Encoding::iq4_nl},   {"q4_k_s", 14, Encoding::q4_k},   {"q4_k_m", 15, Encoding::q4_k},
    {"q4_1", 3, Encoding::q4_1},        {"q5_0", 8, Encoding::q5_0},      {"q5_k_s", 16, Encoding::q5_k},
    {"q5_k_m", 17, Encoding::q5_k},     {"q5_1", 9, Encoding::q5_1},      {"q6_k", 18, Encoding::q6_k},
    {"q8_0", 7, Encoding::q8_0},        {"bf16", 32, Encoding::bf16},     {"f16", 1, Encoding::f16},
    {"f32", 0, Encoding::f32},
}};
constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kShort{
    {{"q3_k", "q3_k_m"}, {"q4_k", "q4_k_m"}, {"q5_k", "q5_k_m"}}};

}  // namespace

std::span<const FileType> file_types() {
  return kTypes;
}

const FileType& parse_file_type(std::string_view name) {
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const auto& [from, to] : kShort)
    if (lower == from) lower = to;
  std::string known;
  for (const FileType& type : kTypes) {
    if (type.name == lower) return type;
    known.append(known.empty() ? "" : ", ").append(type.name);
  }
  fail(ErrorCode::invalid_argument, "'{}' is not a type to quantise to (there are {})", name, known);
}

}  // namespace cairn::encode
