#include "cli/parser/values.hpp"

#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "base/byte_size.hpp"
#include "base/error.hpp"
#include "base/near_match.hpp"

namespace cairn::cli {
namespace {

template <class T>
bool parsed(const std::string& text, T& value) {
  const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
  const auto [end, error] = std::from_chars(begin, text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

CLI::Validator detail::whole(int64_t least, uint64_t most) {
  const bool open = most >= static_cast<uint64_t>(std::numeric_limits<int32_t>::max());
  const std::string range = open ? fmt::format("{} or more", least) : fmt::format("{} to {}", least, most);
  return {
      [=](std::string& text) -> std::string {
        int64_t number = 0;
        uint64_t large = 0;
        if (parsed(text, number) && number >= least && (number < 0 || static_cast<uint64_t>(number) <= most))
          return {};
        if (parsed(text, large) && large >= static_cast<uint64_t>(std::max<int64_t>(least, 0)) &&
            large <= most)
          return {};
        return fmt::format("'{}' is not a whole number ({})", text, range);
      },
      range, ""};
}

CLI::Validator detail::real(double least, double most) {
  const bool open = most > 1e30;
  const std::string range =
      open ? fmt::format("{:g} or more", least) : fmt::format("{:g} to {:g}", least, most);
  return {[=](std::string& text) -> std::string {
            double number = 0;
            if (parsed(text, number) && number >= least && number <= most) return {};
            return fmt::format("'{}' is not a number ({})", text, range);
          },
          range, ""};
}

CLI::Validator detail::names(std::vector<std::pair<std::string, std::string>> pairs) {
  std::vector<std::string> list;
  for (const auto& pair : pairs) list.push_back(pair.first);
  return {[pairs, list](std::string& text) -> std::string {
            for (const auto& [name, value] : pairs) {
              if (folded(name) != folded(text)) continue;
              text = value;
              return {};
            }
            return fmt::format("'{}' is none of {}{}", text, fmt::join(list, ", "), did_you_mean(text, list));
          },
          fmt::format("{}", fmt::join(list, "|")), ""};
}

CLI::Option* detail::size(CLI::App& command, const std::string& names, std::function<void(uint64_t)> take,
                          const std::string& about) {
  const auto check = [](std::string& text) -> std::string {
    try {
      parse_bytes(text, "");
      return {};
    } catch (const Error&) {
      return fmt::format("'{}' is not a size such as 700000, 64K, 400M or 1.5G", text);
    }
  };
  return command
      .add_option_function<std::string>(
          names, [take = std::move(take)](const std::string& text) { take(parse_bytes(text, "a size")); },
          about)
      ->check(CLI::Validator(check, "", ""))
      ->type_name("SIZE");
}

}  // namespace cairn::cli
