#include "base/split_paths.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <string_view>

namespace cairn {
namespace {

constexpr std::string_view kForm = "-00001-of-00001.gguf";
constexpr size_t kPart = 1, kCount = 10, kDigits = 5;  // where the numbers stand in it

uint32_t number(std::string_view ending, size_t at) {
  uint32_t value = 0;
  const char *begin = ending.data() + at, *past = begin + kDigits;
  const auto [end, status] = std::from_chars(begin, past, value);
  return status == std::errc() && end == past ? value : 0;
}

}  // namespace

std::vector<std::string> split_paths(const std::string& path) {
  if (path.size() < kForm.size()) return {path};
  const size_t stem = path.size() - kForm.size();
  const std::string_view ending = std::string_view(path).substr(stem);
  const uint32_t count = number(ending, kCount);
  const bool split = ending[0] == '-' && ending.substr(kPart + kDigits, kCount - kPart - kDigits) == "-of-" &&
                     ending.substr(kCount + kDigits) == ".gguf" && number(ending, kPart) > 0 &&
                     number(ending, kPart) <= count;
  if (!split) return {path};
  std::vector<std::string> paths;
  for (uint32_t part = 1; part <= count; ++part)
    paths.push_back(fmt::format("{}-{:05}-of-{:05}.gguf", path.substr(0, stem), part, count));
  return paths;
}

std::string split_name(const std::string& stem, size_t count) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", stem, 1, count);
}

}  // namespace cairn
