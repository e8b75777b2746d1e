#include <algorithm>
#include <unordered_set>

#include "jinja/builtins.hpp"
#include "jinja/operators.hpp"
#include "jinja/represent.hpp"
#include "jinja/runtime.hpp"
#include "jinja/text_tools.hpp"

namespace cairn::jinja {
namespace {

Value default_filter(Runtime&, const Value& input, const Arguments& arguments) {
  const Bound a("default", arguments, {"default_value", "boolean"});
  if (input.is_missing() || (a.flag(1, false) && !truth(input))) return a.get(0, "");
  return input;
}

Value length_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Bound("length", arguments, {});
  if (input.is_text()) runtime.step(input.text().size() / 64);
  return length(input);
}

Value first(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Bound("first", arguments, {});
  Value item;
  if (iterate(runtime, input)->next(item)) return item;
  return Value::missing("No first item, sequence was empty.");
}

Value last(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Bound("last", arguments, {});
  Value item;
  if (reversed(runtime, input)->next(item)) return item;
  return Value::missing("No last item, sequence was empty.");
}

Value list(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Bound("list", arguments, {});
  return Value::list(collect(runtime, input));
}

Value items(Runtime&, const Value& input, const Arguments& arguments) {
  Bound("items", arguments, {});
  // Lazy in jinja2: what is not a mapping is noticed when the first pair is asked for.
  std::shared_ptr<Iterator> pairs;
  return Value(generator(input, [input, pairs](Value& item) mutable {
    if (input.is_missing()) return false;
    if (!input.is(Kind::dict)) fail(ErrorCode::invalid_argument, "Can only get item pairs from a mapping.");
    if (!pairs) pairs = std::make_shared<View>(input, View::Part::items)->iterate();
    return pairs->next(item);
  }));
}

Value reverse(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Bound("reverse", arguments, {});
  if (input.is_text()) return get_slice(runtime, input, {}, {}, -1);
  if (auto* iterator = input.as<Iterator>()) {
    std::vector<Value> rest;
    for (Value item; iterator->next(item);) {
      runtime.made_items(1);
      rest.push_back(std::move(item));
    }
    std::reverse(rest.begin(), rest.end());
    return Value::list(std::move(rest));
  }
  const bool walkable = input.is_sequence() || input.is(Kind::dict) || input.is_missing() ||
                        (input.is(Kind::object) && input.object().iterable());
  if (!walkable) fail(ErrorCode::invalid_argument, "argument must be iterable");
  return Value(std::static_pointer_cast<Object>(reversed(runtime, input)));
}

// sorted(items, key=key, reverse=descending): stable in both directions.
template <class Key>
std::vector<Value> sorted(Runtime& runtime, const std::vector<Value>& values, bool descending, Key key) {
  std::vector<std::pair<Value, Value>> keyed;
  keyed.reserve(values.size());
  for (const Value& value : values) keyed.emplace_back(key(value), value);
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return descending ? ordered(runtime, Order::less, b.first, a.first)
                      : ordered(runtime, Order::less, a.first, b.first);
  });
  std::vector<Value> out;
  out.reserve(keyed.size());
  for (auto& [unused, value] : keyed) out.push_back(std::move(value));
  return out;
}

Value sort(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound a("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  const bool exact = a.flag(1, false);
  std::vector<Path> paths;  // "a.b,c": by a.b first, then by c
  if (a.has(2) && a[2].is_text()) {
    for (const auto attribute : split(a[2].text(), ",", -1)) paths.emplace_back(Value(attribute));
  } else {
    paths.emplace_back(a.get(2));
  }
  return Value::list(sorted(runtime, collect(runtime, input), a.flag(0, false), [&](const Value& item) {
    std::vector<Value> keys;
    for (const Path& path : paths) {
      Value key = path.follow(runtime, item);
      keys.push_back(exact ? std::move(key) : ignore_case(key));
    }
    return Value::list(std::move(keys));
  }));
}

Value dictsort(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound a("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  const std::string by = a.has(1) ? to_text(runtime, a[1]) : "key";
  if (by != "key" && by != "value") {
    fail(ErrorCode::invalid_argument, "You can only sort by either \"key\" or \"value\"");
  }
  require_defined(input);
  if (!input.is(Kind::dict)) {
    fail(ErrorCode::invalid_argument, "'{}' object has no attribute 'items'", type_name(input));
  }
  const auto pairs = collect(runtime, Value(std::make_shared<View>(input, View::Part::items)));
  return Value::list(sorted(runtime, pairs, a.flag(2, false), [&](const Value& pair) {
    const Value& key = pair.items()[by == "key" ? 0 : 1];
    return a.flag(0, false) ? key : ignore_case(key);
  }));
}

Value unique(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound a("unique", arguments, {"case_sensitive", "attribute"});
  const bool exact = a.flag(0, false);
  std::shared_ptr<Iterator> source;
  const auto seen = std::make_shared<std::unordered_set<Value, Hash, Equal>>();
  const Path path(a.get(1));
  return Value(generator(input, [&runtime, input, source, seen, path, exact](Value& item) mutable {
    if (!source) source = iterate(runtime, input);
    while (source->next(item)) {
      const Value key = path.follow(runtime, item);
      require_hashable(key);
      runtime.made_items(1);
      if (seen->insert(exact ? key : ignore_case(key)).second) return true;
    }
    return false;
  }));
}

template <bool greatest>
Value extreme(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound a(greatest ? "max" : "min", arguments, {"case_sensitive", "attribute"});
  const auto source = iterate(runtime, input);
  const Path path(a.get(1));
  Value best;
  if (!source->next(best)) return Value::missing("No aggregated item, sequence was empty.");
  const auto key = [&](const Value& item) {
    const Value found = path.follow(runtime, item);
    return a.flag(0, false) ? found : ignore_case(found);
  };
  Value best_key = key(best);
  for (Value item; source->next(item);) {
    Value item_key = key(item);
    if (ordered(runtime, greatest ? Order::greater : Order::less, item_key, best_key)) {
      best = std::move(item);
      best_key = std::move(item_key);
    }
  }
  return best;
}

Value sum(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound a("sum", arguments, {"attribute", "start"});
  const Path path(a.get(0));
  Value total = a.get(1, 0);
  if (total.is_text())
    fail(ErrorCode::invalid_argument, "sum() can't sum strings [use ''.join(seq) instead]");
  const auto source = iterate(runtime, input);
  for (Value item; source->next(item);) {
    total = arithmetic(runtime, Arithmetic::add, total, path.follow(runtime, std::move(item)));
  }
  return total;
}

Value batch(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound a("batch", arguments, {"linecount", "fill_with"}, 1);
  std::shared_ptr<Iterator>
      source;  // lazy, as in jinja2: nothing is asked of the input before the first batch
  const Value size = a[0];
  const Value fill = a.get(1);
  auto carried = std::make_shared<std::vector<Value>>();
  return Value(generator(input, [&runtime, input, source, size, fill, carried](Value& line) mutable {
    if (!source) source = iterate(runtime, input);
    for (Value item; source->next(item);) {
      const bool full = compare_equal(runtime, Value(carried->size()), size);
      if (full) line = Value::list(std::exchange(*carried, {}));
      runtime.made_items(1);
      carried->push_back(std::move(item));
      if (full) return true;
    }
    if (carried->empty()) return false;
    if (!fill.is_none() && size.is_integral() && static_cast<int64_t>(carried->size()) < size.integer()) {
      runtime.made_items(static_cast<size_t>(size.integer()));
      carried->resize(static_cast<size_t>(size.integer()), fill);
    }
    line = Value::list(std::exchange(*carried, {}));
    return true;
  }));
}

std::vector<Value> slices(Runtime& runtime, const Value& input, const Value& wanted, const Value& fill) {
  const std::vector<Value> values = collect(runtime, input);
  require_defined(wanted);
  if (!wanted.is_integral()) {
    fail(ErrorCode::invalid_argument, "'{}' object cannot be interpreted as an integer", type_name(wanted));
  }
  const int64_t parts = wanted.integer();
  if (parts == 0) fail(ErrorCode::invalid_argument, "integer division or modulo by zero");
  const auto count = static_cast<int64_t>(values.size());
  std::vector<Value> out;
  int64_t start = 0;
  for (int64_t i = 0; i < parts; ++i) {
    const bool longer = i < count % parts;
    const int64_t end = start + count / parts + (longer ? 1 : 0);
    std::vector<Value> part(values.begin() + start, values.begin() + end);
    if (!fill.is_none() && !longer) part.push_back(fill);
    runtime.made_items(part.size() + 1);
    out.push_back(Value::list(std::move(part)));
    start = end;
  }
  return out;
}

Value slice(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound a("slice", arguments, {"slices", "fill_with"}, 1);
  std::shared_ptr<Iterator> parts;
  return Value(
      generator(input, [&runtime, input, parts, wanted = a[0], fill = a.get(1)](Value& item) mutable {
        if (!parts) parts = iterate(runtime, Value::list(slices(runtime, input, wanted, fill)));
        return parts->next(item);
      }));
}

// jinja2's _GroupTuple: a pair whose members also have names.
class Group : public Object {
 public:
  Group(Value grouper, Value members) : pair_(Value::tuple({std::move(grouper), std::move(members)})) {}
  std::string_view type() const override { return "_GroupTuple"; }
  std::string represent(Runtime& runtime) const override { return jinja::represent(runtime, pair_); }
  std::optional<Value> attribute(Runtime&, std::string_view name) override {
    if (name == "grouper") return pair_.items()[0];
    if (name == "list") return pair_.items()[1];
    return std::nullopt;
  }
  std::optional<Value> item(const Value& index) const override {
    if (!index.is_integral()) return std::nullopt;
    const int64_t i = index.integer();
    if (i < -2 || i > 1) return std::nullopt;
    return pair_.items()[static_cast<size_t>(i < 0 ? i + 2 : i)];
  }
  std::optional<size_t> length() const override { return 2; }
  bool iterable() const override { return true; }
  std::shared_ptr<Iterator> iterate() override {
    return generator(pair_, [pair = pair_, i = size_t{0}](Value& item) mutable {
      if (i >= 2) return false;
      item = pair.items()[i++];
      return true;
    });
  }
  uint32_t depth() const override { return pair_.extent().depth + 1; }

 private:
  Value pair_;
};

Value groupby(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound a("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
  const Path path(a[0]);
  const Value otherwise = a.get(1);
  const auto key = [&](const Value& item) {
    const Value found = path.follow(runtime, item, &otherwise);
    return a.flag(2, false) ? found : ignore_case(found);
  };
  const std::vector<Value> values = sorted(runtime, collect(runtime, input), false, key);
  std::vector<Value> groups;
  for (size_t i = 0; i < values.size();) {
    const Value group_key = key(values[i]);
    std::vector<Value> members;
    const Value shown = path.follow(runtime, values[i], &otherwise);
    for (; i < values.size() && compare_equal(runtime, key(values[i]), group_key); ++i)
      members.push_back(values[i]);
    // NaN is not even equal to itself; a group has at least its first item.
    if (members.empty()) members.push_back(values[i++]);
    runtime.made_items(members.size() + 2);
    groups.push_back(Value(std::make_shared<Group>(shown, Value::list(std::move(members)))));
  }
  return Value::list(std::move(groups));
}

constexpr Method table[] = {
    {"batch", batch},
    {"count", length_filter},
    {"d", default_filter},
    {"default", default_filter},
    {"dictsort", dictsort},
    {"first", first},
    {"groupby", groupby},
    {"items", items},
    {"last", last},
    {"length", length_filter},
    {"list", list},
    {"max", extreme<true>},
    {"min", extreme<false>},
    {"reverse", reverse},
    {"slice", slice},
    {"sort", sort},
    {"sum", sum},
    {"unique", unique},
};

}  // namespace

std::span<const Method> sequence_filters() {
  return table;
}

}  // namespace cairn::jinja
