// How flags take their values: numbers in a range, one of some names, sizes. Each check says in its error
// what would have been right.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace cairn::cli {

// Groups of flags, in the order in which help shows them. Flags without one are in the first.
inline constexpr const char* kUsual = "Options";
inline constexpr const char* kSampling = "Sampling";
inline constexpr const char* kMemory = "Memory";
inline constexpr const char* kResearch = "Research";
inline constexpr const char* kGeneral = "General";

// Puts the flags that `add` gives the command into a group.
template <class Add>
void in_group(CLI::App& command, const char* group, const Add& add) {
  const size_t before = command.get_options().size();
  add();
  const auto options = command.get_options();
  for (size_t i = before; i < options.size(); ++i) options[i]->group(group);
}

namespace detail {
CLI::Validator whole(int64_t least, uint64_t most);
CLI::Validator real(double least, double most);
CLI::Validator names(std::vector<std::pair<std::string, std::string>> names);
CLI::Option* size(CLI::App& command, const std::string& names, std::function<void(uint64_t)> take,
                  const std::string& about);
}  // namespace detail

// A number from `least` to `most`, both taken.
template <class T>
CLI::Validator between(T least, T most) {
  if constexpr (std::is_floating_point_v<T>) {
    return detail::real(static_cast<double>(least), static_cast<double>(most));
  } else {
    return detail::whole(static_cast<int64_t>(least), static_cast<uint64_t>(most));
  }
}
template <class T>
CLI::Validator at_least(T least) {
  return between(least, std::numeric_limits<T>::max());
}

// One of these names, in either case.
template <class Names>
CLI::Validator one_of(const Names& names) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto& name : names) pairs.emplace_back(name, name);
  return detail::names(std::move(pairs));
}
inline CLI::Validator one_of(std::initializer_list<const char*> names) {
  return one_of<std::initializer_list<const char*>>(names);
}

// The same, for a flag whose variable is an enumerator.
template <class Enum>
CLI::Validator one_of(std::initializer_list<std::pair<const char*, Enum>> names) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto& [name, value] : names)
    pairs.emplace_back(name, std::to_string(static_cast<std::underlying_type_t<Enum>>(value)));
  return detail::names(std::move(pairs));
}

// A flag that takes a number of bytes: 700000, 64K, 400M, 1.5G (of 1,024).
template <class Bytes>  // uint64_t or std::optional<uint64_t>
CLI::Option* add_size(CLI::App& command, const std::string& names, Bytes& bytes, const std::string& about) {
  return detail::size(
      command, names, [&bytes](uint64_t number) { bytes = number; }, about);
}

}  // namespace cairn::cli
