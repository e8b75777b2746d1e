// What is looked for in texts that are still coming.
#pragma once

#include <algorithm>
#include <string_view>

namespace cairn::text {

inline constexpr std::string_view kBlanks = " \t\r\n";

inline std::string_view trimmed_front(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  return text;
}
inline std::string_view trimmed_back(std::string_view text) {
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

inline std::string_view trimmed(std::string_view text) {
  return trimmed_back(trimmed_front(text));
}

// The length of the longest end of `text` that begins `mark`, which is not empty.
inline size_t begun_at_end(std::string_view text, std::string_view mark) {
  size_t length = std::min(mark.size() - 1, text.size());
  while (!text.ends_with(mark.substr(0, length))) --length;
  return length;
}

// Behind the JSON object or array that begins at `begin`, by its brackets and strings alone; npos: it does
// not end.
inline size_t json_end(std::string_view text, size_t begin) {
  size_t depth = 0;
  bool in_string = false;
  for (size_t at = begin; at < text.size(); ++at) {
    const char c = text[at];
    if (in_string) {
      if (c == '\\') ++at;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if ((c == '}' || c == ']') && --depth == 0) {
      return at + 1;
    }
  }
  return std::string_view::npos;
}

// Behind any value that begins at `begin`; npos: it does not end, or may go on.
inline size_t json_value_end(std::string_view text, size_t begin) {
  if (text[begin] == '{' || text[begin] == '[') return json_end(text, begin);
  if (text[begin] != '"') return text.find_first_of(",}] \t\r\n", begin);
  for (size_t at = begin + 1; at < text.size(); ++at) {
    if (text[at] == '"') return at + 1;
    if (text[at] == '\\') ++at;
  }
  return std::string_view::npos;
}

}  // namespace cairn::text
