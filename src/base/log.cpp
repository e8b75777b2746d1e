#include "base/log.hpp"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace cairn {
namespace {

std::atomic<LogLevel> chosen{LogLevel::info};

}  // namespace

void set_log_level(LogLevel level) noexcept {
  chosen.store(level, std::memory_order_relaxed);
}

LogLevel log_level() noexcept {
  return chosen.load(std::memory_order_relaxed);
}

void log_line(LogLevel level, std::string_view text) noexcept {
  if (!logs(level)) return;
  const char* kind = level == LogLevel::warning ? "warning: " : level == LogLevel::debug ? "debug: " : "";
  const bool coloured = level <= LogLevel::warning && colours();
  std::fprintf(stderr, "%scairn: %s%s", coloured ? (level == LogLevel::error ? "\x1b[31m" : "\x1b[33m") : "",
               kind, coloured ? "\x1b[m" : "");
  for (const char c : text) std::fputc(static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c, stderr);
  std::fputc('\n', stderr);
}

bool colours() noexcept {
  const char* refused = std::getenv("NO_COLOR");
  if (refused != nullptr && *refused != '\0') return false;
  const char* terminal = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && (terminal == nullptr || std::string_view(terminal) != "dumb");
}

}  // namespace cairn
