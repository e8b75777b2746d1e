#include "jinja/json.hpp"

#include <algorithm>
#include <cmath>

#include "jinja/limits.hpp"
#include "jinja/operators.hpp"
#include "jinja/represent.hpp"
#include "jinja/runtime.hpp"
#include "jinja/unicode.hpp"

namespace cairn::jinja {
namespace {

Value convert(const nlohmann::ordered_json& json, uint32_t depth) {
  // Before the recursion, not after: Extent's own check comes too late for the stack.
  if (depth > limits::depth) {
    fail(ErrorCode::invalid_argument, "variables nested more than {} levels deep", limits::depth);
  }
  switch (json.type()) {
    case nlohmann::json::value_t::boolean:
      return json.get<bool>();
    case nlohmann::json::value_t::number_integer:
      return json.get<int64_t>();
    case nlohmann::json::value_t::number_unsigned: {
      const auto number = json.get<uint64_t>();
      if (number > static_cast<uint64_t>(INT64_MAX)) {
        fail(ErrorCode::unsupported, "the integer {} is beyond 64 bits", number);
      }
      return static_cast<int64_t>(number);
    }
    case nlohmann::json::value_t::number_float:
      return json.get<double>();
    case nlohmann::json::value_t::string:
      return unicode::sanitize(json.get_ref<const std::string&>());
    case nlohmann::json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& item : json) items.push_back(convert(item, depth + 1));
      return Value::list(std::move(items));
    }
    case nlohmann::json::value_t::object: {
      Dict dict;
      for (const auto& [key, item] : json.items()) {
        dict.set(Value(unicode::sanitize(key)), convert(item, depth + 1));
      }
      return Value::dict(std::move(dict));
    }
    default:
      return {};
  }
}

std::string real(double number) {
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number < 0 ? "-Infinity" : "Infinity";
  return represent_real(number);
}

class Writer {
 public:
  Writer(Runtime& runtime, const JsonStyle& style) : runtime_(runtime), style_(style) {}

  void write(const Value& value) {
    runtime_.step();
    switch (value.kind()) {
      case Kind::none:
        out_ += "null";
        return;
      case Kind::boolean:
        out_ += value.boolean() ? "true" : "false";
        return;
      case Kind::integer:
        out_ += fmt::format("{}", value.integer());
        return;
      case Kind::real:
        out_ += real(value.real());
        return;
      case Kind::text:
        quote(value.text());
        return;
      case Kind::list:
      case Kind::tuple:
        write_items(value.items());
        return;
      case Kind::dict:
        write_dict(value.dict());
        return;
      default:
        fail(ErrorCode::invalid_argument, "Object of type {} is not JSON serializable", type_name(value));
    }
  }
  std::string take() { return out_.take(); }

 private:
  void line(size_t level) {
    if (!style_.indent) return;
    out_ += "\n";
    out_.repeat(*style_.indent, level);
  }

  void write_items(const std::vector<Value>& items) {
    if (items.empty()) {
      out_ += "[]";
      return;
    }
    out_ += "[";
    ++level_;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      line(level_);
      write(items[i]);
    }
    line(--level_);
    out_ += "]";
  }

  void write_dict(const Dict& dict) {
    if (dict.size() == 0) {
      out_ += "{}";
      return;
    }
    std::vector<const Dict::Entry*> entries;
    for (const auto& entry : dict.entries()) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(), [&](const auto* a, const auto* b) {
        return ordered(runtime_, Order::less, a->first, b->first);
      });
    }
    out_ += "{";
    ++level_;
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      line(level_);
      quote(key(entries[i]->first));
      out_ += style_.key_separator;
      write(entries[i]->second);
    }
    line(--level_);
    out_ += "}";
  }

  static std::string key(const Value& value) {
    switch (value.kind()) {
      case Kind::text:
        return std::string(value.text());
      case Kind::none:
        return "null";
      case Kind::boolean:
        return value.boolean() ? "true" : "false";
      case Kind::integer:
        return fmt::format("{}", value.integer());
      case Kind::real:
        return real(value.real());
      default:
        fail(ErrorCode::invalid_argument, "keys must be str, int, float, bool or None, not {}",
             type_name(value));
    }
  }

  void quote(std::string_view text) {
    std::string piece = "\"";
    for (size_t i = 0; i < text.size();) {
      const size_t start = i;
      const auto c = static_cast<uint32_t>(unicode::next(text, i));
      switch (c) {
        case '"':
          piece += "\\\"";
          break;
        case '\\':
          piece += "\\\\";
          break;
        case '\n':
          piece += "\\n";
          break;
        case '\r':
          piece += "\\r";
          break;
        case '\t':
          piece += "\\t";
          break;
        case '\f':
          piece += "\\f";
          break;
        case '\b':
          piece += "\\b";
          break;
        default:
          if (c < 0x20 || (style_.ascii && c > 0x7E && c <= 0xFFFF)) {
            piece += fmt::format("\\u{:04x}", c);
          } else if (style_.ascii && c > 0xFFFF) {
            const uint32_t rest = c - 0x10000;
            piece += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
          } else {
            piece.append(text.substr(start, i - start));
          }
      }
    }
    out_ += piece += '"';
  }

  Runtime& runtime_;
  const JsonStyle& style_;
  TextBuilder out_;
  size_t level_ = 0;
};

}  // namespace

Value from_json(const nlohmann::ordered_json& json) {
  return convert(json, 0);
}

std::string to_json(Runtime& runtime, const Value& value, const JsonStyle& style) {
  Writer writer(runtime, style);
  writer.write(value);
  return writer.take();
}

}  // namespace cairn::jinja
