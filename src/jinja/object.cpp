#include "jinja/object.hpp"

#include <algorithm>

#include "jinja/limits.hpp"
#include "jinja/operators.hpp"
#include "jinja/represent.hpp"
#include "jinja/runtime.hpp"

namespace cairn::jinja {
namespace {

// Walks `count` items that `at` makes, forwards or backwards; `owner` keeps alive what `at` reads.
template <class Owner>
std::shared_ptr<Iterator> indexed(std::string_view type, std::shared_ptr<Owner> owner, size_t count,
                                  bool backwards) {
  const uint32_t depth = owner->depth() + 1;
  size_t i = 0;
  return std::make_shared<Generator>(type, depth, [owner, count, backwards, i](Value& item) mutable {
    if (i >= count) return false;
    item = owner->at(backwards ? count - 1 - i : i);
    ++i;
    return true;
  });
}

}  // namespace

std::string Object::represent(Runtime&) const {
  return fmt::format("<{} object>", type());
}

Value Object::call(Runtime&, Arguments&) {
  fail(ErrorCode::invalid_argument, "'{}' object is not callable", type());
}

std::shared_ptr<Iterator> generator(const Value& source, Generator::Next next, std::string_view type) {
  const uint32_t depth = source.extent().depth + 1;
  if (depth > limits::depth) {
    fail(ErrorCode::unsupported, "iterators nested more than {} levels deep", limits::depth);
  }
  return std::make_shared<Generator>(type, depth, std::move(next));
}

Range::Range(int64_t start, int64_t stop, int64_t step) : start_(start), stop_(stop), step_(step), count_(0) {
  if (step == 0) fail(ErrorCode::invalid_argument, "range() arg 3 must not be zero");
  const auto distance = step > 0 ? static_cast<uint64_t>(stop) - static_cast<uint64_t>(start)
                                 : static_cast<uint64_t>(start) - static_cast<uint64_t>(stop);
  const auto stride = step > 0 ? static_cast<uint64_t>(step) : uint64_t{0} - static_cast<uint64_t>(step);
  if (step > 0 ? start < stop : start > stop) count_ = (distance - 1) / stride + 1;
  if (count_ > static_cast<size_t>(limits::range)) {
    fail(ErrorCode::invalid_argument, "Range too big. The sandbox blocks ranges larger than MAX_RANGE ({}).",
         limits::range);
  }
}

std::string Range::represent(Runtime&) const {
  if (step_ == 1) return fmt::format("range({}, {})", start_, stop_);
  return fmt::format("range({}, {}, {})", start_, stop_, step_);
}

std::optional<Value> Range::item(const Value& index) const {
  if (!index.is_integral()) return std::nullopt;
  int64_t i = index.integer();
  if (i < 0) i += static_cast<int64_t>(count_);
  if (i < 0 || i >= static_cast<int64_t>(count_)) return std::nullopt;
  return at(static_cast<size_t>(i));
}

std::shared_ptr<Iterator> Range::iterate() {
  return indexed("range_iterator", std::static_pointer_cast<Range>(shared_from_this()), count_, false);
}

std::shared_ptr<Iterator> Range::reversed() {
  return indexed("range_iterator", std::static_pointer_cast<Range>(shared_from_this()), count_, true);
}

bool Range::equals(const Object& other) const {
  const auto* range = dynamic_cast<const Range*>(&other);
  if (!range || range->count_ != count_) return false;
  return count_ == 0 || (start_ == range->start_ && (count_ == 1 || step_ == range->step_));
}

bool Range::contains(const Value& value) const {
  for (size_t i = 0; i < count_; ++i) {
    if (equal(at(i), value)) return true;
  }
  return false;
}

std::string_view View::type() const {
  switch (part_) {
    case Part::keys:
      return "dict_keys";
    case Part::values:
      return "dict_values";
    case Part::items:
      return "dict_items";
  }
  return "dict_view";
}

Value View::at(size_t index) const {
  const auto& [key, value] = dict_.dict().entries()[index];
  if (part_ == Part::keys) return key;
  if (part_ == Part::values) return value;
  return Value::tuple({key, value});
}

std::string View::represent(Runtime& runtime) const {
  std::vector<Value> items;
  for (size_t i = 0; i < dict_.dict().size(); ++i) items.push_back(at(i));
  return fmt::format("{}({})", type(), jinja::represent(runtime, Value::list(std::move(items))));
}

std::shared_ptr<Iterator> View::iterate() {
  return indexed("dict_iterator", std::static_pointer_cast<View>(shared_from_this()), dict_.dict().size(),
                 false);
}

std::shared_ptr<Iterator> View::reversed() {
  return indexed("dict_reverseiterator", std::static_pointer_cast<View>(shared_from_this()),
                 dict_.dict().size(), true);
}

bool View::equals(const Object& other) const {
  // Keys and items compare as sets, values by identity.
  const auto* view = dynamic_cast<const View*>(&other);
  if (!view || view->part_ != part_ || part_ == Part::values) return false;
  if (part_ == Part::items) return equal(dict_, view->dict_);
  if (dict_.dict().size() != view->dict_.dict().size()) return false;
  return std::all_of(
      dict_.dict().entries().begin(), dict_.dict().entries().end(),
      [&](const Dict::Entry& entry) { return view->dict_.dict().find(entry.first) != nullptr; });
}

std::string Namespace::represent(Runtime& runtime) const {
  // A namespace can hold itself; Python prints {...} there.
  if (representing_) return "<Namespace {...}>";
  const Nested nested(runtime);
  representing_ = true;
  std::string text;
  try {
    text = fmt::format("<Namespace {}>", jinja::represent(runtime, Value::dict(attributes_)));
  } catch (...) {
    representing_ = false;
    throw;
  }
  representing_ = false;
  return text;
}

std::optional<Value> Namespace::attribute(Runtime&, std::string_view name) {
  const Value* value = attributes_.find(name);
  if (!value) return std::nullopt;
  return *value;
}

void Namespace::set(std::string_view name, Value value) {
  if (name.starts_with("_")) {
    fail(ErrorCode::invalid_argument,
         "Chat templates cannot store underscore-prefixed attributes on a namespace, but got '{}'. Please "
         "rename the attribute.",
         name);
  }
  attributes_.set(Value(name), std::move(value));
}

}  // namespace cairn::jinja
