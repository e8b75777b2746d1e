#pragma once

#include <initializer_list>
#include <optional>
#include <string_view>
#include <vector>

#include "jinja/object.hpp"

namespace cairn::jinja {

// The arguments of a call matched to the parameters of a built-in, by Python's rules. An empty name stands
// for a parameter that can be given by position only.
class Bound {
 public:
  // Error invalid_argument: too many, unknown, given twice, or one of the first `required` missing.
  Bound(std::string_view function, const Arguments& arguments, std::initializer_list<std::string_view> names,
        size_t required = 0);

  bool has(size_t i) const { return values_[i] != nullptr; }
  const Value& operator[](size_t i) const { return *values_[i]; }
  Value get(size_t i) const;  // None when absent
  Value get(size_t i, const Value& otherwise) const;
  bool flag(size_t i, bool otherwise) const;
  int64_t integer(size_t i) const;                                // Error unless an int
  int64_t integer(size_t i, int64_t otherwise) const;             // the same when present
  std::string_view text(size_t i) const;                          // Error unless a str
  std::optional<std::string_view> optional_text(size_t i) const;  // nullopt when absent or None

 private:
  std::string_view function_;
  std::vector<const Value*> values_;
};

}  // namespace cairn::jinja
