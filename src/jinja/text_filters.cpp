#include <algorithm>

#include "jinja/builtins.hpp"
#include "jinja/format.hpp"
#include "jinja/json.hpp"
#include "jinja/operators.hpp"
#include "jinja/represent.hpp"
#include "jinja/text_tools.hpp"
#include "jinja/unicode.hpp"

namespace cairn::jinja {
namespace {

template <std::string (*change)(std::string_view)>
Value changed(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Bound("filter", arguments, {});
  return Value(change(to_text(runtime, input)), input.markup());
}

// jinja2's own title: words begin after blanks, hyphens and opening brackets, not after every other
// character.
std::string title(std::string_view text) {
  const auto separates = [](char32_t c) {
    return unicode::is_space(c) || c == U'-' || c == U'(' || c == U'{' || c == U'[' || c == U'<';
  };
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const size_t start = i;
    const bool separator = separates(unicode::next(text, i));
    const size_t second = i;
    while (i < text.size()) {
      size_t after = i;
      if (separates(unicode::next(text, after)) != separator) break;
      i = after;
    }
    out +=
        unicode::upper(text.substr(start, second - start)) + unicode::lower(text.substr(second, i - second));
  }
  return out;
}

Value trim(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound a("trim", arguments, {"chars"});
  return Value(std::string(strip(to_text(runtime, input), Side::both, a.optional_text(0))), input.markup());
}

Value replace_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound a("replace", arguments, {"old", "new", "count"}, 2);
  const int64_t limit = a.has(2) && !a[2].is_none() ? a.integer(2) : -1;
  return replace(to_text(runtime, input), to_text(runtime, a[0]), to_text(runtime, a[1]), limit);
}

Value join(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound a("join", arguments, {"d", "attribute"});
  const std::string separator = a.has(0) ? to_text(runtime, a[0]) : "";
  const Path path(a.get(1));
  const auto iterator = iterate(runtime, input);
  TextBuilder out;
  bool first = true;
  for (Value item; iterator->next(item); first = false) {
    if (!first) out += separator;
    out += to_text(runtime, path.follow(runtime, std::move(item)));
  }
  return out.take();
}

Value indent(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound a("indent", arguments, {"width", "first", "blank"});
  require_defined(input);
  if (!input.is_text()) {
    fail(ErrorCode::invalid_argument, "unsupported operand type(s) for +=: '{}' and 'str'", type_name(input));
  }
  std::string indention;
  if (a.has(0) && a[0].is_text()) {
    indention = a[0].text();
  } else {
    TextBuilder blanks;
    blanks.repeat(" ", static_cast<size_t>(std::max<int64_t>(0, a.integer(0, 4))));
    indention = blanks.take();
  }
  // A trailing newline is added as jinja2 does: it makes the last line end like the others.
  const std::string text = std::string(input.text()) + "\n";
  runtime.step(text.size());
  TextBuilder out;
  if (a.flag(1, false)) out += indention;
  bool first = true;
  for (const auto line : split_lines(text)) {
    if (!first) {
      out += "\n";
      if (a.flag(2, false) || !line.empty()) out += indention;
    }
    first = false;
    out += line;
  }
  return Value(out.take(), input.markup());
}

Value truncate(Runtime&, const Value& input, const Arguments& arguments) {
  const Bound a("truncate", arguments, {"length", "killwords", "end", "leeway"});
  const int64_t wanted = a.integer(0, 255);
  const std::string_view end = a.has(2) ? a.text(2) : "...";
  const int64_t leeway = a.has(3) && !a[3].is_none() ? a.integer(3) : 5;
  const auto end_length = static_cast<int64_t>(unicode::length(end));
  if (wanted < end_length) {
    fail(ErrorCode::invalid_argument, "expected length >= {}, got {}", end_length, wanted);
  }
  if (leeway < 0) fail(ErrorCode::invalid_argument, "expected leeway >= 0, got {}", leeway);
  if (static_cast<int64_t>(length(input)) - leeway <= wanted) return input;
  if (!input.is_text()) {
    fail(ErrorCode::invalid_argument, "truncate() needs a string, not {}", type_name(input));
  }
  const auto text = input.text();
  auto kept = text.substr(0, unicode::offset(text, static_cast<size_t>(wanted - end_length)));
  if (!a.flag(1, false)) kept = split_right(kept, " ", 1).front();
  return std::string(kept) + std::string(end);
}

Value center(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound a("center", arguments, {"width"});
  return pad(to_text(runtime, input), a.integer(0, 80), " ", Side::both);
}

Value wordcount(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Bound("wordcount", arguments, {});
  const std::string text = to_text(runtime, input);
  size_t words = 0;
  bool inside = false;
  for (size_t i = 0; i < text.size();) {
    const bool word = unicode::is_word(unicode::next(text, i));
    words += word && !inside ? 1 : 0;
    inside = word;
  }
  return words;
}

Value string(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Bound("string", arguments, {});
  return input.is_text() ? input : Value(to_text(runtime, input));
}

Value safe(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Bound("safe", arguments, {});
  return Value(to_text(runtime, input), true);
}

Value escape(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Bound("escape", arguments, {});
  return input.markup() ? input : Value(escape_html(to_text(runtime, input)), true);
}

Value force_escape(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Bound("forceescape", arguments, {});
  return Value(escape_html(to_text(runtime, input)), true);
}

Value format_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty()) {
    fail(ErrorCode::invalid_argument, "can't handle positional and keyword arguments at the same time");
  }
  const std::string text = to_text(runtime, input);
  if (arguments.named.empty()) return format_percent(runtime, text, Value::tuple(arguments.positional));
  Dict named;
  for (const auto& [name, value] : arguments.named) named.set(Value(name), value);
  return format_percent(runtime, text, Value::dict(std::move(named)));
}

Value tojson(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound a("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ascii = a.flag(0, false);
  style.sort_keys = a.flag(3, false);
  if (a.has(1) && !a[1].is_none()) {
    if (a[1].is_text()) {
      style.indent = std::string(a[1].text());
    } else {
      TextBuilder blanks;
      blanks.repeat(" ", static_cast<size_t>(std::max<int64_t>(0, a.integer(1))));
      style.indent = blanks.take();
    }
    style.item_separator = ",";
  }
  if (a.has(2) && !a[2].is_none()) {
    if (!a[2].is_sequence() || a[2].items().size() != 2 || !a[2].items()[0].is_text() ||
        !a[2].items()[1].is_text()) {
      fail(ErrorCode::invalid_argument, "separators must be a pair of strings");
    }
    style.item_separator = a[2].items()[0].text();
    style.key_separator = a[2].items()[1].text();
  }
  return to_json(runtime, input, style);
}

std::string quoted(std::string_view text, bool query) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = byte < 0x80 && (std::isalnum(byte) || c == '_' || c == '.' || c == '-' || c == '~');
    if (plain || (c == '/' && !query)) {
      out += c;
    } else if (c == ' ' && query) {
      out += '+';
    } else {
      out += fmt::format("%{:02X}", byte);
    }
  }
  return out;
}

Value urlencode(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Bound("urlencode", arguments, {});
  const bool pairs = input.is(Kind::dict) || input.is_sequence() || input.is_missing() ||
                     (input.is(Kind::object) && input.object().iterable());
  if (!pairs) return quoted(to_text(runtime, input), false);
  const Value items = input.is(Kind::dict) ? Value(std::make_shared<View>(input, View::Part::items)) : input;
  const auto iterator = iterate(runtime, items);
  TextBuilder out;
  for (Value item; iterator->next(item);) {
    const auto pair = collect(runtime, item);
    if (pair.size() != 2) fail(ErrorCode::invalid_argument, "urlencode needs pairs");
    if (!out.text().empty()) out += "&";
    out += quoted(to_text(runtime, pair[0]), true) + "=" + quoted(to_text(runtime, pair[1]), true);
  }
  return out.take();
}

constexpr Method table[] = {
    {"capitalize", changed<unicode::capitalize>},
    {"center", center},
    {"e", escape},
    {"escape", escape},
    {"forceescape", force_escape},
    {"format", format_filter},
    {"indent", indent},
    {"join", join},
    {"lower", changed<unicode::lower>},
    {"replace", replace_filter},
    {"safe", safe},
    {"string", string},
    {"title", changed<title>},
    {"tojson", tojson},
    {"trim", trim},
    {"truncate", truncate},
    {"upper", changed<unicode::upper>},
    {"urlencode", urlencode},
    {"wordcount", wordcount},
};

}  // namespace

std::span<const Method> text_filters() {
  return table;
}

}  // namespace cairn::jinja
