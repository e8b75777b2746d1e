#include "jinja/arguments.hpp"

#include <algorithm>

namespace cairn::jinja {

Bound::Bound(std::string_view function, const Arguments& arguments,
             std::initializer_list<std::string_view> names, size_t required)
    : function_(function), values_(names.size(), nullptr) {
  if (arguments.positional.size() > names.size()) {
    fail(ErrorCode::invalid_argument, "{}() takes at most {} argument(s) ({} given)", function, names.size(),
         arguments.positional.size());
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find(names.begin(), names.end(), std::string_view(name));
    if (found == names.end()) {
      fail(ErrorCode::invalid_argument, "{}() got an unexpected keyword argument '{}'", function, name);
    }
    const auto i = static_cast<size_t>(found - names.begin());
    if (values_[i]) {
      fail(ErrorCode::invalid_argument, "{}() got multiple values for argument '{}'", function, name);
    }
    values_[i] = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (values_[i]) continue;
    fail(ErrorCode::invalid_argument, "{}() missing {} required positional argument: '{}'", function,
         required - i, names.begin()[i]);
  }
}

Value Bound::get(size_t i) const {
  if (has(i)) return *values_[i];
  return {};
}

Value Bound::get(size_t i, const Value& otherwise) const {
  return has(i) ? *values_[i] : otherwise;
}

bool Bound::flag(size_t i, bool otherwise) const {
  return has(i) ? truth(*values_[i]) : otherwise;
}

int64_t Bound::integer(size_t i) const {
  const Value& value = *values_[i];
  require_defined(value);
  if (!value.is_integral()) {
    fail(ErrorCode::invalid_argument, "{}(): '{}' object cannot be interpreted as an integer", function_,
         type_name(value));
  }
  return value.integer();
}

int64_t Bound::integer(size_t i, int64_t otherwise) const {
  return has(i) ? integer(i) : otherwise;
}

std::string_view Bound::text(size_t i) const {
  const Value& value = *values_[i];
  require_defined(value);
  if (!value.is_text()) {
    fail(ErrorCode::invalid_argument, "{}(): argument {} must be str, not {}", function_, i + 1,
         type_name(value));
  }
  return value.text();
}

std::optional<std::string_view> Bound::optional_text(size_t i) const {
  if (!has(i) || values_[i]->is_none()) return std::nullopt;
  return text(i);
}

}  // namespace cairn::jinja
