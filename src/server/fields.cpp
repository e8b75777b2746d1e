#include "server/fields.hpp"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "server/api_error.hpp"

namespace cairn::server {
namespace {

// What renders and prints JSON later goes down by recursion.
constexpr int kDeepest = 64;

}  // namespace

Json parse_body(std::string_view body) {
  Json parsed;
  try {
    parsed = Json::parse(body.begin(), body.end(), [](int depth, Json::parse_event_t, const Json&) {
      if (depth > kDeepest)
        throw ApiError(400, fmt::format("the body is nested deeper than {} levels", kDeepest));
      return true;
    });
  } catch (const Json::exception& error) {  // numbers beyond a double among them
    const std::string_view text = error.what();
    throw ApiError(400, fmt::format("the body is no JSON: {}", text.substr(text.find("] ") + 2)));
  }
  if (!parsed.is_object()) throw ApiError(400, "the body is no JSON object");
  return parsed;
}

void refuse(const std::string& at, const std::string& why) {
  throw ApiError(400, fmt::format("{}: {}", at, why), at);
}

const Json* Fields::find(std::string_view name) const {
  const auto at = object_.find(std::string(name));
  return at == object_.end() || at->is_null() ? nullptr : &*at;
}

void Fields::refuse(std::string_view name, const std::string& why) const {
  server::refuse(prefix_ + std::string(name), why);
}

std::optional<double> Fields::number(std::string_view name, double least, double most) const {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) refuse(name, fmt::format("a number was expected, not a {}", value->type_name()));
  const double number = value->get<double>();
  if (!(number >= least && number <= most))
    refuse(name, fmt::format("{} is not from {} to {}", number, least, most));
  return number;
}

std::optional<int64_t> Fields::integer(std::string_view name, int64_t least, int64_t most) const {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  const double number = value->is_number() ? value->get<double>() : 0.5;
  if (!value->is_number_integer() && number != std::floor(number)) {
    refuse(name, fmt::format("a whole number was expected, not {}",
                             value->is_number() ? value->dump() : std::string("a ") + value->type_name()));
  }
  const bool fits = value->is_number_unsigned()  ? value->get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX)
                    : value->is_number_integer() ? true
                                                 : std::abs(number) < 9e18;
  const int64_t whole = !fits                        ? 0
                        : value->is_number_integer() ? value->get<int64_t>()
                                                     : static_cast<int64_t>(number);
  if (!fits || whole < least || whole > most)
    refuse(name, fmt::format("{} is not from {} to {}", value->dump(), least, most));
  return whole;
}

bool Fields::flag(std::string_view name) const {
  const Json* value = find(name);
  if (value == nullptr) return false;
  if (!value->is_boolean())
    refuse(name, fmt::format("true or false was expected, not a {}", value->type_name()));
  return value->get<bool>();
}

std::optional<std::string> Fields::text(std::string_view name) const {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) refuse(name, fmt::format("a string was expected, not a {}", value->type_name()));
  return value->get<std::string>();
}

std::string Fields::needed_text(std::string_view name) const {
  auto found = text(name);
  if (!found) refuse(name, "it is missing");
  return std::move(*found);
}

}  // namespace cairn::server
