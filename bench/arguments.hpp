// Numbers on a benchmark's command line.
#pragma once

#include <fmt/format.h>

#include <charconv>
#include <cstddef>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace cairn {

// argv[i], or `usual` where there are fewer. Throws std::runtime_error for what is no number.
inline size_t number(int argc, char** argv, int i, size_t usual) {
  if (i >= argc) return usual;
  const std::string_view text = argv[i];
  size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw std::runtime_error(fmt::format("'{}' is no number", text));
  return value;
}

// argv[first] and all behind it, or `usual` where there are none.
inline std::vector<size_t> numbers(int argc, char** argv, int first, std::vector<size_t> usual) {
  if (argc <= first) return usual;
  std::vector<size_t> all;
  for (int i = first; i < argc; ++i) all.push_back(number(argc, argv, i, 0));
  return all;
}

}  // namespace cairn
