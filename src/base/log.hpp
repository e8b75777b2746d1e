#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace cairn {

// What is said on standard error beside errors: --log-level. Each level holds those before it.
enum class LogLevel : uint8_t {
  error,
  warning,
  info,   // progress, rates
  debug,  // what was chosen: files, instruction sets, sizes
};

void set_log_level(LogLevel level) noexcept;
LogLevel log_level() noexcept;  // info at first
inline bool logs(LogLevel level) noexcept {
  return level <= log_level();
}

// One line on standard error, control characters made harmless: "cairn: warning: …". A standard error that
// cannot be written to is no error.
void log_line(LogLevel level, std::string_view text) noexcept;

template <class... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  if (logs(LogLevel::warning)) log_line(LogLevel::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (logs(LogLevel::debug)) log_line(LogLevel::debug, fmt::format(format, std::forward<Args>(args)...));
}

// Whether standard error may be coloured: a terminal, and NO_COLOR (no-color.org) is not set.
bool colours() noexcept;

}  // namespace cairn
