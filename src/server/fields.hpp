#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace cairn::server {

using Json = nlohmann::ordered_json;

// A request's body. ApiError 400: no JSON (where), nested too deeply, no object.
Json parse_body(std::string_view body);

// ApiError 400 of what is at that place, its `param`.
[[noreturn]] void refuse(const std::string& at, const std::string& why);

// Reads an object's fields; null is as good as absent. Each throws ApiError 400 with the field as `param`
// when it has another type, or is out of range.
class Fields {
 public:
  explicit Fields(const Json& object, std::string prefix = {})
      : object_(object), prefix_(std::move(prefix)) {}

  const Json* find(std::string_view name) const;  // null: not there
  std::optional<double> number(std::string_view name, double least, double most) const;
  std::optional<int64_t> integer(std::string_view name, int64_t least, int64_t most) const;
  bool flag(std::string_view name) const;  // false if absent
  std::optional<std::string> text(std::string_view name) const;
  std::string needed_text(std::string_view name) const;
  [[noreturn]] void refuse(std::string_view name, const std::string& why) const;

 private:
  const Json& object_;
  std::string prefix_;  // of `param`
};

}  // namespace cairn::server
