#include "base/byte_size.hpp"

#include <cctype>
#include <charconv>
#include <cmath>

#include "base/error.hpp"

namespace cairn {

uint64_t parse_bytes(std::string_view text, std::string_view what) {
  const auto refuse = [&] {
    fail(ErrorCode::invalid_argument, "{} {}: not a number of bytes, such as 400M or 1.5G", what, text);
  };
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || !std::isfinite(number) || number < 0) refuse();
  std::string unit;
  for (const char* c = end; c != text.data() + text.size(); ++c) {
    if (*c != ' ' || !unit.empty()) unit += static_cast<char>(std::tolower(static_cast<unsigned char>(*c)));
  }
  double factor = 0;
  for (const auto& [letter, value] : {std::pair{"", 1.0}, {"k", 0x1p10}, {"m", 0x1p20}, {"g", 0x1p30}, {"t", 0x1p40}}) {
    const std::string name = letter;
    if (unit == name || unit == name + "b" || (!name.empty() && unit == name + "ib")) factor = value;
  }
  if (factor == 0 || number * factor > 0x1p62) refuse();
  return static_cast<uint64_t>(number * factor);
}

std::string byte_size(uint64_t bytes) {
  const auto number = static_cast<double>(bytes);
  if (bytes < 1 << 10) return fmt::format("{} B", bytes);
  if (bytes < 1 << 20) return fmt::format("{:.1f} KiB", number / 0x1p10);
  if (bytes < 1 << 30) return fmt::format("{:.1f} MiB", number / 0x1p20);
  return fmt::format("{:.2f} GiB", number / 0x1p30);
}

std::string mebibytes(uint64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / 0x1p20);
}

}  // namespace cairn
