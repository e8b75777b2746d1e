#include "jinja/represent.hpp"

#include <cmath>

#include "jinja/object.hpp"
#include "jinja/runtime.hpp"
#include "jinja/unicode.hpp"

namespace cairn::jinja {
namespace {

void write(Runtime& runtime, TextBuilder& out, const Value& value);

void write_items(Runtime& runtime, TextBuilder& out, const std::vector<Value>& items) {
  bool first = true;
  for (const Value& item : items) {
    if (!first) out += ", ";
    first = false;
    write(runtime, out, item);
  }
}

void write(Runtime& runtime, TextBuilder& out, const Value& value) {
  runtime.step();
  switch (value.kind()) {
    case Kind::text:
      if (value.markup()) {
        out += "Markup(" + represent_text(value.text()) + ")";
      } else {
        out += represent_text(value.text());
      }
      return;
    case Kind::list:
      out += "[";
      write_items(runtime, out, value.items());
      out += "]";
      return;
    case Kind::tuple:
      out += "(";
      write_items(runtime, out, value.items());
      out += value.items().size() == 1 ? ",)" : ")";
      return;
    case Kind::dict: {
      out += "{";
      bool first = true;
      for (const auto& [key, item] : value.dict().entries()) {
        if (!first) out += ", ";
        first = false;
        write(runtime, out, key);
        out += ": ";
        write(runtime, out, item);
      }
      out += "}";
      return;
    }
    case Kind::missing:
      out += "Undefined";
      return;
    case Kind::object:
      out += value.object().represent(runtime);
      return;
    default:
      out += to_text(runtime, value);
  }
}

}  // namespace

std::string represent_real(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  std::string text = fmt::format("{}", number);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string represent_text(std::string_view text) {
  const bool doubled = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = doubled ? '"' : '\'';
  std::string out(1, quote);
  for (size_t i = 0; i < text.size();) {
    const size_t start = i;
    const char32_t c = unicode::next(text, i);
    if (c == static_cast<char32_t>(quote) || c == U'\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == U'\n') {
      out += "\\n";
    } else if (c == U'\r') {
      out += "\\r";
    } else if (c == U'\t') {
      out += "\\t";
    } else if (unicode::is_printable(c)) {
      out.append(text.substr(start, i - start));
    } else if (c <= 0xFF) {
      out += fmt::format("\\x{:02x}", static_cast<uint32_t>(c));
    } else if (c <= 0xFFFF) {
      out += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    } else {
      out += fmt::format("\\U{:08x}", static_cast<uint32_t>(c));
    }
  }
  return out += quote;
}

std::string represent(Runtime& runtime, const Value& value) {
  TextBuilder out;
  write(runtime, out, value);
  return out.take();
}

std::string to_text(Runtime& runtime, const Value& value) {
  switch (value.kind()) {
    case Kind::none:
      return "None";
    case Kind::boolean:
      return value.boolean() ? "True" : "False";
    case Kind::integer:
      return fmt::format("{}", value.integer());
    case Kind::real:
      return represent_real(value.real());
    case Kind::text:
      return std::string(value.text());
    case Kind::missing:
      return "";
    default:
      return represent(runtime, value);
  }
}

}  // namespace cairn::jinja
