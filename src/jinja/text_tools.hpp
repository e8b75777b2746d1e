#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/runtime.hpp"

// The algorithms behind Python's str methods, shared by methods and filters. Text is valid UTF-8.
namespace cairn::jinja {

enum class Side { left = 1, right = 2, both = 3 };

// Strips whitespace, or any of the code points in `characters`.
std::string_view strip(std::string_view text, Side side, std::optional<std::string_view> characters = {});
// Splits at runs of whitespace. `limit` < 0: no limit.
std::vector<std::string_view> split(std::string_view text, int64_t limit);
std::vector<std::string_view> split_right(std::string_view text, int64_t limit);
std::vector<std::string_view> split(std::string_view text, std::string_view separator, int64_t limit);
std::vector<std::string_view> split_right(std::string_view text, std::string_view separator, int64_t limit);
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends = false);
std::string replace(std::string_view text, std::string_view old, std::string_view fresh, int64_t limit = -1);
size_t count(std::string_view text, std::string_view part);
std::string pad(std::string_view text, int64_t width, std::string_view fill, Side text_at);  // both: centred
std::string escape_html(std::string_view text);  // markupsafe.escape
// What int(text, base) and float(text) of Python accept; nullopt where they raise ValueError.
std::optional<int64_t> parse_integer(std::string_view text, int64_t base);
std::optional<double> parse_real(std::string_view text);

}  // namespace cairn::jinja
