#pragma once

#include <span>
#include <string_view>

namespace cairn::text {

// Characters of a Unicode category that PCRE2's tables (Unicode 14) do not have yet and the reference
// tokenizers' (16) do, as the inside of a character class. "Digit" is N in version 17.
struct UnicodeAdditions {
  std::string_view category;
  std::string_view members;
};

std::span<const UnicodeAdditions> unicode_additions();

}  // namespace cairn::text
