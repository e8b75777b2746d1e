#include "grammar/schema_values.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/utf8.hpp"
#include "grammar/schema_keywords.hpp"

namespace cairn::grammar {
namespace {

using Json = nlohmann::ordered_json;

std::set<std::string> families_of(const Json& schema) {
  std::set<std::string> types;
  const Json type = schema.value("type", Json::array());
  for (const Json& one : type.is_array() ? type : Json::array({type}))
    types.insert(family(one.get<std::string>()));
  return types;
}

const Json& required_of(const Json& schema) {
  static const Json none = Json::array();
  return schema.contains("required") ? schema["required"] : none;
}

// Whether schemas exclude each other, through references into `defs`. One schema can be a case of many, in
// many ways: what all comparisons together may take is bounded, and what is not seen by then does not
// exclude.
class Excluding {
 public:
  explicit Excluding(const Json& defs) {
    for (auto one = defs.begin(); one != defs.end(); ++one)
      stands_for_.emplace("#/$defs/" + one.key(), &one.value());
    for (auto& [reference, schema] : stands_for_) schema = &resolved(*schema);
  }

  bool exclude(const Json& one, const Json& other, int depth = 0) {
    if (depth > kDeepest || (depth > 0 && ++steps_ > kMostSteps)) return false;
    const Json& a = resolved(one);
    const Json& b = resolved(other);
    if (&a == &b || !a.is_object() || !b.is_object()) return false;
    if (a.contains("anyOf")) {
      return std::all_of(a["anyOf"].begin(), a["anyOf"].end(),
                         [&](const Json& of) { return exclude(of, b, depth + 1); });
    }
    if (b.contains("anyOf")) return exclude(b, a, depth + 1);
    if (a.contains("enum") && b.contains("enum")) return !share_value(a["enum"], b["enum"]);
    if (b.contains("enum")) return exclude(b, a, depth + 1);
    const std::set<std::string> types = families_of(b);
    if (types.empty()) return false;
    if (a.contains("enum")) {
      return compare(a["enum"].size() * types.size()) &&
             std::none_of(a["enum"].begin(), a["enum"].end(), [&](const Json& value) {
               return std::any_of(types.begin(), types.end(),
                                  [&](const auto& type) { return has_type(value, type); });
             });
    }
    const std::set<std::string> others = families_of(a);
    if (others.empty()) return false;
    std::vector<std::string> both;
    std::set_intersection(types.begin(), types.end(), others.begin(), others.end(), std::back_inserter(both));
    return both.empty() || (both.size() == 1 && both[0] == "object" && told_apart(a, b));
  }

 private:
  static constexpr int kDeepest = 64;                       // cases that are cases themselves
  static constexpr size_t kMostSteps = size_t{1} << 16;     // … in all
  static constexpr size_t kMostCompared = size_t{1} << 25;  // pairs of values and of names

  // False: too many.
  bool compare(size_t more) { return (compared_ += more) <= kMostCompared; }

  // What a reference stands for; itself where it leads nowhere else.
  const Json& resolved(const Json& schema) const {
    const Json* at = &schema;
    for (size_t hops = 0; hops <= stands_for_.size() && at->is_object() && at->contains("$ref"); ++hops)
      at = stands_for_.at((*at)["$ref"].get_ref<const std::string&>());
    return *at;
  }

  // A value in both lists. Numbers are compared as such: 1 and 1.0 are the same.
  bool share_value(const Json& a, const Json& b) {
    return !compare(a.size() * b.size()) || std::any_of(a.begin(), a.end(), [&](const Json& x) {
      return std::find(b.begin(), b.end(), x) != b.end();
    });
  }

  // A property that both require, whose values differ.
  bool told_apart(const Json& a, const Json& b) {
    const Json& required = required_of(b);
    if (!compare(required_of(a).size() * required.size())) return false;
    for (const Json& name : required_of(a)) {
      if (std::find(required.begin(), required.end(), name) == required.end()) continue;
      if (!compare(a["properties"].size() + b["properties"].size())) return false;
      const std::string key = name.get<std::string>();
      const Json& x = resolved(a["properties"][key]);
      const Json& y = resolved(b["properties"][key]);
      if (x.is_object() && y.is_object() && x.contains("enum") && y.contains("enum") &&
          !share_value(x["enum"], y["enum"]))
        return true;
    }
    return false;
  }

  std::unordered_map<std::string, const Json*> stands_for_;  // by reference
  size_t steps_ = 0, compared_ = 0;
};

// Which of `defs` can be met is found round after round, beginning with none.
class Meeting {
 public:
  explicit Meeting(const Json& defs) : defs_(defs) {}

  bool settle() {
    bool changed = false;
    // From the last: what is found later is what earlier ones refer to, mostly.
    for (auto one = defs_.rbegin(); one != defs_.rend(); ++one) {
      if (!met_.contains(one.key()) && meets(one.value())) {
        met_.insert(one.key());
        changed = true;
      }
    }
    return changed;
  }

  bool meets(const Json& schema) const {
    if (schema.is_boolean()) return schema.get<bool>();
    if (schema.contains("$ref"))
      return met_.contains(schema["$ref"].get<std::string>().substr(8));  // #/$defs/
    if (schema.contains("anyOf")) {
      return std::any_of(schema["anyOf"].begin(), schema["anyOf"].end(),
                         [&](const Json& one) { return meets(one); });
    }
    const Json type = schema.value("type", Json());
    if (type.is_array()) {
      return std::any_of(type.begin(), type.end(), [&](const Json& one) { return meets_type(schema, one); });
    }
    return type.is_null() || meets_type(schema, type);
  }

 private:
  bool meets_type(const Json& schema, const Json& type) const {
    if (type == "object") {
      const Json required = schema.value("required", Json::array());
      return std::all_of(required.begin(), required.end(), [&](const Json& name) {
        return meets(schema["properties"][name.get<std::string>()]);
      });
    }
    if (type == "array") {
      const auto least = schema.value("minItems", size_t{0});
      const Json first = schema.value("prefixItems", Json::array());
      for (size_t i = 0; i < std::min(least, first.size()); ++i) {
        if (!meets(first[i])) return false;
      }
      return least <= first.size() || meets(schema["items"]);
    }
    return true;
  }

  const Json& defs_;
  std::set<std::string> met_;
};

}  // namespace

bool has_type(const Json& value, std::string_view type) {
  if (type == "integer") {
    return value.is_number_integer() ||
           (value.is_number_float() && std::floor(value.get<double>()) == value.get<double>());
  }
  if (type == "number") return value.is_number();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  return type == "array" ? value.is_array() : type == "object" && value.is_object();
}

const std::string* find_overlap(const std::vector<std::pair<std::string, Json>>& exclusive,
                                const Json& defs) {
  Excluding excluding(defs);
  for (const auto& [place, cases] : exclusive) {
    for (size_t i = 0; i < cases.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        if (!excluding.exclude(cases[i], cases[j])) return &place;
      }
    }
  }
  return nullptr;
}

bool can_be_met(const Json& root) {
  const Json defs = root.is_object() ? root.value("$defs", Json::object()) : Json::object();
  Meeting meeting(defs);
  while (meeting.settle()) {
  }
  return meeting.meets(root);
}

std::string percent_decoded(std::string_view text) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0) {
      out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string printed(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 60) {
    text.resize(valid_prefix(std::string_view(text).substr(0, 60)));
    text += "…";
  }
  return text;
}

}  // namespace cairn::grammar
