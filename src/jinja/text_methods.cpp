#include <algorithm>

#include "jinja/builtins.hpp"
#include "jinja/format.hpp"
#include "jinja/operators.hpp"
#include "jinja/text_tools.hpp"
#include "jinja/unicode.hpp"

namespace cairn::jinja {
namespace {

Value texts(Runtime& runtime, const std::vector<std::string_view>& parts) {
  runtime.made_items(parts.size());
  std::vector<Value> items;
  items.reserve(parts.size());
  for (const auto part : parts) items.emplace_back(part);
  return Value::list(std::move(items));
}

template <std::string (*change)(std::string_view)>
Value changed(Runtime&, const Value& self, const Arguments& arguments) {
  Bound("str method", arguments, {});
  return Value(change(self.text()), self.markup());
}

template <Side side>
Value stripped(Runtime&, const Value& self, const Arguments& arguments) {
  const Bound a("strip", arguments, {""});
  return Value(std::string(strip(self.text(), side, a.optional_text(0))), self.markup());
}

template <bool from_right>
Value split_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound a("split", arguments, {"sep", "maxsplit"});
  const auto separator = a.optional_text(0);
  const int64_t limit = a.integer(1, -1);
  if (separator && separator->empty()) fail(ErrorCode::invalid_argument, "empty separator");
  if (!separator) {
    return texts(runtime, from_right ? split_right(self.text(), limit) : split(self.text(), limit));
  }
  return texts(runtime, from_right ? split_right(self.text(), *separator, limit)
                                   : split(self.text(), *separator, limit));
}

Value splitlines(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound a("splitlines", arguments, {"keepends"});
  return texts(runtime, split_lines(self.text(), a.flag(0, false)));
}

// The optional [start, end) that find, count, startswith and others take, in code points, as bytes.
// nullopt when start lies behind the end: then nothing is found, not even the empty string.
std::optional<std::pair<size_t, size_t>> window(std::string_view text, const Bound& a) {
  const auto count = static_cast<int64_t>(unicode::length(text));
  const auto place = [&](size_t i, int64_t otherwise) {
    int64_t at = a.has(i) && !a[i].is_none() ? a.integer(i) : otherwise;
    if (at < 0) at = std::max<int64_t>(0, at + count);
    return at;
  };
  const int64_t start = place(1, 0);
  const int64_t end = std::min(place(2, count), count);
  if (start > end) return std::nullopt;
  return std::pair{unicode::offset(text, static_cast<size_t>(start)),
                   unicode::offset(text, static_cast<size_t>(end))};
}

template <bool from_right, bool must>
Value find(Runtime&, const Value& self, const Arguments& arguments) {
  const Bound a(must ? "index" : "find", arguments, {"", "", ""}, 1);
  const auto text = self.text();
  if (const auto range = window(text, a)) {
    const auto part = text.substr(range->first, range->second - range->first);
    const size_t at = from_right ? part.rfind(a.text(0)) : part.find(a.text(0));
    if (at != std::string_view::npos) return unicode::length(text.substr(0, range->first + at));
  }
  if (must) fail(ErrorCode::invalid_argument, "substring not found");
  return -1;
}

Value count_method(Runtime&, const Value& self, const Arguments& arguments) {
  const Bound a("count", arguments, {"", "", ""}, 1);
  const auto range = window(self.text(), a);
  if (!range) return 0;
  return count(self.text().substr(range->first, range->second - range->first), a.text(0));
}

template <bool at_end>
Value starts_or_ends(Runtime&, const Value& self, const Arguments& arguments) {
  const std::string_view name = at_end ? "endswith" : "startswith";
  const Bound a(name, arguments, {"", "", ""}, 1);
  const auto range = window(self.text(), a);
  const auto matches = [&](const Value& affix) {
    if (!affix.is_text()) {
      fail(ErrorCode::invalid_argument, "{} first arg must be str or a tuple of str, not {}", name,
           type_name(affix));
    }
    if (!range) return false;
    const auto part = self.text().substr(range->first, range->second - range->first);
    return at_end ? part.ends_with(affix.text()) : part.starts_with(affix.text());
  };
  if (a[0].is(Kind::tuple)) return std::any_of(a[0].items().begin(), a[0].items().end(), matches);
  return matches(a[0]);
}

Value replace_method(Runtime&, const Value& self, const Arguments& arguments) {
  const Bound a("replace", arguments, {"", "", ""}, 2);
  return replace(self.text(), a.text(0), a.text(1), a.integer(2, -1));
}

Value join(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound a("join", arguments, {""}, 1);
  const auto iterator = iterate(runtime, a[0]);
  TextBuilder out;
  size_t i = 0;
  for (Value item; iterator->next(item); ++i) {
    if (!item.is_text()) {
      fail(ErrorCode::invalid_argument, "sequence item {}: expected str instance, {} found", i,
           type_name(item));
    }
    if (i > 0) out += self.text();
    out += item.text();
  }
  return out.take();
}

Value format_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  return format_braces(runtime, self.text(), arguments);
}

Value format_map(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound a("format_map", arguments, {""}, 1);
  Arguments named;
  if (!a[0].is(Kind::dict)) fail(ErrorCode::invalid_argument, "format_map() argument must be a mapping");
  for (const auto& [key, value] : a[0].dict().entries()) {
    if (key.is_text()) named.named.emplace_back(key.text(), value);
  }
  return format_braces(runtime, self.text(), named);
}

// "center", "ljust" and "rjust"
template <Side text_at>
Value padded(Runtime&, const Value& self, const Arguments& arguments) {
  const Bound a("justify", arguments, {"", ""}, 1);
  const auto fill = a.has(1) ? a.text(1) : " ";
  if (unicode::length(fill) != 1) {
    fail(ErrorCode::invalid_argument, "The fill character must be exactly one character long");
  }
  return pad(self.text(), a.integer(0), fill, text_at);
}

Value zfill(Runtime&, const Value& self, const Arguments& arguments) {
  const Bound a("zfill", arguments, {""}, 1);
  const auto text = self.text();
  const bool sign = text.starts_with("+") || text.starts_with("-");
  const int64_t width = a.integer(0) - (sign ? 1 : 0);
  return std::string(text.substr(0, sign ? 1 : 0)) + pad(text.substr(sign ? 1 : 0), width, "0", Side::right);
}

template <bool from_right>
Value partition(Runtime&, const Value& self, const Arguments& arguments) {
  const Bound a("partition", arguments, {""}, 1);
  const auto text = self.text();
  const auto separator = a.text(0);
  if (separator.empty()) fail(ErrorCode::invalid_argument, "empty separator");
  const size_t at = from_right ? text.rfind(separator) : text.find(separator);
  if (at == std::string_view::npos) {
    return from_right ? Value::tuple({"", "", text}) : Value::tuple({text, "", ""});
  }
  return Value::tuple({text.substr(0, at), separator, text.substr(at + separator.size())});
}

template <bool suffix>
Value without_affix(Runtime&, const Value& self, const Arguments& arguments) {
  const Bound a("removeprefix", arguments, {""}, 1);
  auto text = self.text();
  const auto affix = a.text(0);
  if (suffix && text.ends_with(affix)) text.remove_suffix(affix.size());
  if (!suffix && text.starts_with(affix)) text.remove_prefix(affix.size());
  return text;
}

Value expandtabs(Runtime&, const Value& self, const Arguments& arguments) {
  const Bound a("expandtabs", arguments, {"tabsize"});
  const int64_t tab = a.integer(0, 8);
  TextBuilder out;
  int64_t column = 0;
  const auto text = self.text();
  for (size_t i = 0; i < text.size();) {
    const size_t start = i;
    const char32_t c = unicode::next(text, i);
    if (c == U'\t') {
      const int64_t blanks = tab > 0 ? tab - column % tab : 0;
      out.repeat(" ", static_cast<size_t>(blanks));
      column += blanks;
      continue;
    }
    out += text.substr(start, i - start);
    column = c == U'\n' || c == U'\r' ? 0 : column + 1;
  }
  return out.take();
}

template <bool (*holds)(char32_t)>
Value every(Runtime&, const Value& self, const Arguments& arguments) {
  Bound("str method", arguments, {});
  const auto text = self.text();
  for (size_t i = 0; i < text.size();) {
    if (!holds(unicode::next(text, i))) return false;
  }
  return !text.empty();
}

bool alphanumeric(char32_t c) {
  return unicode::is_alpha(c) || unicode::is_numeric(c);
}

Value isascii(Runtime&, const Value& self, const Arguments&) {
  return std::all_of(self.text().begin(), self.text().end(), [](char c) { return (c & 0x80) == 0; });
}

Value isprintable(Runtime& runtime, const Value& self, const Arguments& arguments) {
  return self.text().empty() || truth(every<unicode::is_printable>(runtime, self, arguments));
}

// All cased characters have this case, and there is at least one.
template <bool (*holds)(char32_t), bool (*breaks)(char32_t)>
Value cased(Runtime&, const Value& self, const Arguments& arguments) {
  Bound("str method", arguments, {});
  bool any = false;
  const auto text = self.text();
  for (size_t i = 0; i < text.size();) {
    const char32_t c = unicode::next(text, i);
    if (breaks(c) || unicode::is_title(c)) return false;
    any |= holds(c);
  }
  return any;
}

Value istitle(Runtime&, const Value& self, const Arguments& arguments) {
  Bound("istitle", arguments, {});
  bool any = false, inside = false;
  const auto text = self.text();
  for (size_t i = 0; i < text.size();) {
    const char32_t c = unicode::next(text, i);
    const bool begins = unicode::is_upper(c) || unicode::is_title(c);
    if (begins ? inside : unicode::is_lower(c) && !inside) return false;
    inside = begins || unicode::is_lower(c);
    any |= inside;
  }
  return any;
}

Value isidentifier(Runtime&, const Value& self, const Arguments&) {
  const auto text = self.text();
  for (size_t i = 0; i < text.size();) {
    const bool first = i == 0;
    const char32_t c = unicode::next(text, i);
    if (!unicode::is_word(c) || (first && unicode::is_numeric(c))) return false;
  }
  return !text.empty();
}

constexpr Method table[] = {
    {"capitalize", changed<unicode::capitalize>},
    {"casefold", changed<unicode::casefold>},
    {"center", padded<Side::both>},
    {"count", count_method},
    {"endswith", starts_or_ends<true>},
    {"expandtabs", expandtabs},
    {"find", find<false, false>},
    {"format", format_method},
    {"format_map", format_map},
    {"index", find<false, true>},
    {"isalnum", every<alphanumeric>},
    {"isalpha", every<unicode::is_alpha>},
    {"isascii", isascii},
    {"isdecimal", every<unicode::is_decimal>},
    {"isdigit", every<unicode::is_digit>},
    {"isidentifier", isidentifier},
    {"islower", cased<unicode::is_lower, unicode::is_upper>},
    {"isnumeric", every<unicode::is_numeric>},
    {"isprintable", isprintable},
    {"isspace", every<unicode::is_space>},
    {"istitle", istitle},
    {"isupper", cased<unicode::is_upper, unicode::is_lower>},
    {"join", join},
    {"ljust", padded<Side::left>},
    {"lower", changed<unicode::lower>},
    {"lstrip", stripped<Side::left>},
    {"partition", partition<false>},
    {"removeprefix", without_affix<false>},
    {"removesuffix", without_affix<true>},
    {"replace", replace_method},
    {"rfind", find<true, false>},
    {"rindex", find<true, true>},
    {"rjust", padded<Side::right>},
    {"rpartition", partition<true>},
    {"rsplit", split_method<true>},
    {"rstrip", stripped<Side::right>},
    {"split", split_method<false>},
    {"splitlines", splitlines},
    {"startswith", starts_or_ends<false>},
    {"strip", stripped<Side::both>},
    {"swapcase", changed<unicode::swapcase>},
    {"title", changed<unicode::title>},
    {"upper", changed<unicode::upper>},
    {"zfill", zfill},
};

}  // namespace

const Method* find_text_method(std::string_view name) {
  const auto* found =
      std::find_if(std::begin(table), std::end(table), [&](const Method& m) { return m.name == name; });
  return found == std::end(table) ? nullptr : found;
}

}  // namespace cairn::jinja
