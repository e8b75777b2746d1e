#include <algorithm>

#include "jinja/operators.hpp"
#include "jinja/represent.hpp"
#include "jinja/runtime.hpp"
#include "jinja/unicode.hpp"

namespace cairn::jinja {
namespace {

// Python's obj[index]; nullopt where Python raises TypeError or LookupError.
std::optional<Value> plain_item(const Value& object, const Value& index) {
  switch (object.kind()) {
    case Kind::list:
    case Kind::tuple: {
      if (!index.is_integral()) return std::nullopt;
      const auto count = static_cast<int64_t>(object.items().size());
      int64_t i = index.integer();
      if (i < 0) i += count;
      if (i < 0 || i >= count) return std::nullopt;
      return object.items()[static_cast<size_t>(i)];
    }
    case Kind::text: {
      if (!index.is_integral()) return std::nullopt;
      const auto text = object.text();
      const auto count = static_cast<int64_t>(unicode::length(text));
      int64_t i = index.integer();
      if (i < 0) i += count;
      if (i < 0 || i >= count) return std::nullopt;
      const size_t start = unicode::offset(text, static_cast<size_t>(i));
      size_t end = start;
      unicode::next(text, end);
      return Value(std::string(text.substr(start, end - start)), object.markup());
    }
    case Kind::dict: {
      if (unhashable_part(index)) return std::nullopt;
      const Value* value = object.dict().find(index);
      if (!value) return std::nullopt;
      return *value;
    }
    case Kind::object:
      return object.object().item(index);
    default:
      return std::nullopt;
  }
}

Value no_attribute(const Value& object, std::string_view name) {
  return Value::missing(
      fmt::format("{} has no attribute {}", represent_text(described_type(object)), represent_text(name)));
}

struct Bounds {
  int64_t start, stop, step, count;
};

// slice.indices of Python
Bounds bounds(int64_t length, const Value& start, const Value& stop, const Value& step) {
  const auto integer = [](const Value& value) {
    if (!value.is_integral()) {
      fail(ErrorCode::invalid_argument, "slice indices must be integers or None or have an __index__ method");
    }
    return value.integer();
  };
  Bounds out{};
  out.step = step.is_none() ? 1 : integer(step);
  if (out.step == 0) fail(ErrorCode::invalid_argument, "slice step cannot be zero");
  out.step = std::clamp(out.step, -(length + 1), length + 1);
  const int64_t low = out.step < 0 ? -1 : 0;
  const int64_t high = out.step < 0 ? length - 1 : length;
  const auto place = [&](const Value& value, int64_t otherwise) {
    if (value.is_none()) return otherwise;
    const int64_t i = integer(value);
    return std::clamp(i < 0 ? std::max(i, -length - 1) + length : i, low, high);
  };
  out.start = place(start, out.step < 0 ? high : low);
  out.stop = place(stop, out.step < 0 ? low : high);
  if (out.step > 0 && out.start < out.stop) out.count = (out.stop - out.start - 1) / out.step + 1;
  if (out.step < 0 && out.start > out.stop) out.count = (out.start - out.stop - 1) / -out.step + 1;
  return out;
}

Value slice_text(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
                 const Value& step) {
  const std::string_view text = object.text();
  runtime.step(text.size() / 64);
  const Bounds b = bounds(static_cast<int64_t>(unicode::length(text)), start, stop, step);
  if (b.step == 1) {
    const size_t from = unicode::offset(text, static_cast<size_t>(b.start));
    const size_t size = unicode::offset(text.substr(from), static_cast<size_t>(b.count));
    return Value(std::string(text.substr(from, size)), object.markup());
  }
  std::vector<size_t> offsets;
  runtime.step(text.size());
  for (size_t i = 0; i < text.size(); unicode::next(text, i)) offsets.push_back(i);
  offsets.push_back(text.size());
  std::string out;
  for (int64_t i = 0, at = b.start; i < b.count; ++i, at += b.step) {
    const size_t from = offsets[static_cast<size_t>(at)];
    out.append(text.substr(from, offsets[static_cast<size_t>(at) + 1] - from));
  }
  return Value(std::move(out), object.markup());
}

}  // namespace

Value get_item(Runtime& runtime, const Value& object, const Value& index) {
  require_defined(object);
  if (object.is_text()) runtime.step(object.text().size() / 64);
  if (auto value = plain_item(object, index)) return *value;
  if (index.is_text()) {
    if (auto value = find_member(runtime, object, index.text())) return *value;
    return no_attribute(object, index.text());
  }
  return Value::missing(
      fmt::format("{} has no element {}", described_type(object), represent(runtime, index)));
}

Value get_attribute(Runtime& runtime, const Value& object, std::string_view name) {
  require_defined(object);
  if (auto value = find_member(runtime, object, name)) return *value;
  if (object.is(Kind::dict)) {
    if (const Value* value = object.dict().find(name)) return *value;
  }
  return no_attribute(object, name);
}

Value get_slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
                const Value& step) {
  require_defined(object);
  if (object.is_text()) return slice_text(runtime, object, start, stop, step);
  if (object.is_sequence()) {
    const auto& items = object.items();
    const Bounds b = bounds(static_cast<int64_t>(items.size()), start, stop, step);
    runtime.made_items(static_cast<size_t>(b.count));
    std::vector<Value> out;
    for (int64_t i = 0, at = b.start; i < b.count; ++i, at += b.step)
      out.push_back(items[static_cast<size_t>(at)]);
    return object.is(Kind::list) ? Value::list(std::move(out)) : Value::tuple(std::move(out));
  }
  if (const auto* range = object.as<Range>()) {
    const Bounds b = bounds(static_cast<int64_t>(*range->length()), start, stop, step);
    const auto at = [&](int64_t i) { return range->start() + i * range->step(); };
    return Value(std::make_shared<Range>(at(b.start), at(b.stop), range->step() * b.step));
  }
  if (object.is(Kind::dict)) fail(ErrorCode::invalid_argument, "unhashable type: 'slice'");
  fail(ErrorCode::invalid_argument, "'{}' object is not subscriptable", type_name(object));
}

}  // namespace cairn::jinja
