#include "text/word_piece_normalizer.hpp"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

#include "base/error.hpp"
#include "text/word_piece_unicode.hpp"

namespace cairn::text {
namespace {

constexpr char32_t kDottedCapitalI = 0x130, kDotAbove = 0x307;

// body(character) for each of a valid text.
template <class Body>
void each_character(std::string_view text, const Body& body) {
  for (size_t at = 0; at < text.size();) {
    utf8proc_int32_t character = 0;
    at += static_cast<size_t>(utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at,
                                               static_cast<utf8proc_ssize_t>(text.size() - at), &character));
    body(static_cast<char32_t>(character));
  }
}

void append(std::string& out, char32_t character) {
  utf8proc_uint8_t bytes[4];
  const auto count = utf8proc_encode_char(static_cast<utf8proc_int32_t>(character), bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(count));
}

// Unicode normalisation form D. The text is valid UTF-8, so only memory can lack.
std::string decomposed(const std::string& text) {
  utf8proc_uint8_t* result = nullptr;
  const utf8proc_ssize_t bytes = utf8proc_map(
      reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
      &result, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(result, &std::free);
  if (bytes < 0) fail(ErrorCode::out_of_memory, "normalising a text: {}", utf8proc_errmsg(bytes));
  return {reinterpret_cast<const char*>(result), static_cast<size_t>(bytes)};
}

}  // namespace

std::string WordPieceNormalizer::normalized(std::string_view text) const {
  std::string clean, out;
  clean.reserve(text.size() + 1);
  bool ascii = true;
  each_character(text, [&](char32_t c) {
    ascii &= c < 0x80;
    if (bert::is_removed(c)) return;
    if (bert::is_blank(c)) return clean.push_back(kEnd);
    const bool alone = c >= 0x80 && bert::is_ideograph(c);
    if (alone) clean.push_back(kEnd);
    append(clean, c);
    if (alone) clean.push_back(kEnd);
  });
  if (strip_accents && !ascii) clean = decomposed(clean);
  out.reserve(clean.size() + 1);
  each_character(clean, [&](char32_t c) {
    if (c == kEnd) return out.push_back(kEnd);
    if (strip_accents && c >= 0x80 && bert::is_mark(c)) return;
    if (lowercase && c == kDottedCapitalI) {  // the only one that becomes two
      append(out, 'i');
      c = kDotAbove;
    } else if (const char32_t small = lowercase && c >= 0x80 ? bert::newer_small(c) : 0; small != 0) {
      c = small;
    } else if (lowercase) {
      c = static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
    }
    const bool alone = bert::is_punctuation(c);
    if (alone) out.push_back(kEnd);
    append(out, c);
    if (alone) out.push_back(kEnd);
  });
  out.push_back(kEnd);
  return out;
}

}  // namespace cairn::text
