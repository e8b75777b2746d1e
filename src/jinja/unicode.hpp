#pragma once

#include <cstddef>
#include <string>
#include <string_view>

// What Python's str needs from Unicode. Every string_view here is valid UTF-8 (see sanitize); positions are
// byte offsets, lengths and indices count code points as Python does.
namespace cairn::jinja::unicode {

std::string sanitize(std::string_view bytes);  // ill-formed sequences become U+FFFD

char32_t next(std::string_view text, size_t& position);      // reads a code point and steps over it
char32_t previous(std::string_view text, size_t& position);  // steps back over a code point and returns it
void append(std::string& text, char32_t code_point);
size_t length(std::string_view text);
size_t offset(std::string_view text, size_t index);  // byte offset of code point `index`, at most text.size()

bool is_space(char32_t c);      // str.isspace
bool is_printable(char32_t c);  // str.isprintable
bool is_upper(char32_t c);
bool is_lower(char32_t c);
bool is_title(char32_t c);
bool is_alpha(char32_t c);
bool is_decimal(char32_t c);
bool is_digit(char32_t c);
bool is_numeric(char32_t c);
bool is_word(char32_t c);  // \w of Python's re
bool is_line_break(char32_t c);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string casefold(std::string_view text);
std::string title(std::string_view text);       // str.title
std::string capitalize(std::string_view text);  // str.capitalize
std::string swapcase(std::string_view text);

}  // namespace cairn::jinja::unicode
