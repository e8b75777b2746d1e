// Pages that need nothing but themselves: wide screens, phones, light and dark.
#pragma once

#include <string>
#include <string_view>

namespace cairn {

// Text for element content and quoted attributes of HTML and XML. Control characters, which XML has no way to
// write, become blanks.
std::string escape_html(std::string_view text);

// A whole page. title: as text; body: as HTML. Its style gives charts the classes grid, axis, and s0 … s3 for
// the colours of series; what may be wider than a phone goes into <div class="wide">, which scrolls.
std::string html_page(std::string_view title, std::string_view body);

}  // namespace cairn
