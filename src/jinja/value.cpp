#include "jinja/value.hpp"

#include <cmath>
#include <functional>

#include "jinja/limits.hpp"
#include "jinja/object.hpp"

namespace cairn::jinja {
namespace {

constexpr size_t linear_search = 8;

bool equal_items(const std::vector<Value>& a, const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!equal(a[i], b[i])) return false;
  }
  return true;
}

bool equal_dicts(const Dict& a, const Dict& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [key, value] : a.entries()) {
    const Value* other = b.find(key);
    if (!other || !equal(value, *other)) return false;
  }
  return true;
}

bool equal_numbers(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) return a.integer() == b.integer();
  if (a.is(Kind::real) && b.is(Kind::real)) return a.real() == b.real();
  // Exact, as in Python: 2**53 + 1 is not equal to 2.0**53.
  const double real = a.is(Kind::real) ? a.real() : b.real();
  const int64_t integer = a.is(Kind::real) ? b.integer() : a.integer();
  return real >= -0x1p63 && real < 0x1p63 && std::trunc(real) == real &&
         static_cast<int64_t>(real) == integer;
}

}  // namespace

void Extent::add(const Value& part) {
  const Extent other = part.extent();
  weight += other.weight;
  depth = std::max(depth, other.depth + 1);
  if (weight > limits::weight) {
    fail(ErrorCode::unsupported, "a value of more than {} parts", limits::weight);
  }
  if (depth > limits::depth) {
    fail(ErrorCode::unsupported, "a value nested more than {} levels deep", limits::depth);
  }
}

Value::Value() noexcept = default;
Value::Value(const Value& other) = default;
Value::Value(Value&& other) noexcept = default;
Value& Value::operator=(const Value& other) = default;
Value& Value::operator=(Value&& other) noexcept = default;
Value::~Value() = default;

Value::Value(std::string text, bool markup)
    : storage_(std::make_shared<const Text>(Text{std::move(text), markup})) {}
Value::Value(std::string_view text) : Value(std::string(text)) {}
Value::Value(const char* text) : Value(std::string(text)) {}
Value::Value(std::shared_ptr<Object> object) : storage_(std::move(object)) {}

Value Value::list(std::vector<Value> items) {
  Extent extent;
  for (const Value& item : items) extent.add(item);
  Value value;
  value.storage_ = ListTag{std::make_shared<const Sequence>(Sequence{std::move(items), extent})};
  return value;
}

Value Value::tuple(std::vector<Value> items) {
  Extent extent;
  for (const Value& item : items) extent.add(item);
  Value value;
  value.storage_ = TupleTag{std::make_shared<const Sequence>(Sequence{std::move(items), extent})};
  return value;
}

Value Value::dict(Dict entries) {
  entries.sealed_ = entries.extent();
  Value value;
  value.storage_ = std::make_shared<const Dict>(std::move(entries));
  return value;
}

Value Value::missing(std::string message) {
  Value value;
  value.storage_ = std::make_shared<const Missing>(Missing{std::move(message)});
  return value;
}

const std::vector<Value>& Value::items() const {
  if (is(Kind::list)) return std::get<ListTag>(storage_)->items;
  return std::get<TupleTag>(storage_)->items;
}

Extent Value::extent() const {
  switch (kind()) {
    case Kind::text:
      return {static_cast<uint32_t>(1 + std::min<size_t>(text().size() / 64, limits::weight)), 0};
    case Kind::list:
      return std::get<ListTag>(storage_)->extent;
    case Kind::tuple:
      return std::get<TupleTag>(storage_)->extent;
    case Kind::dict:
      return dict().sealed_;
    case Kind::object:
      return {1, object().depth()};
    default:
      return {};
  }
}

const void* Value::identity() const {
  return std::visit(
      [](const auto& stored) -> const void* {
        if constexpr (requires { stored.get(); }) {
          return stored.get();
        } else {
          return nullptr;
        }
      },
      storage_);
}

size_t Hash::operator()(const Value& value) const {
  switch (value.kind()) {
    case Kind::boolean:
    case Kind::integer:
      return std::hash<double>()(static_cast<double>(value.integer()));
    case Kind::real:
      return std::hash<double>()(value.real());
    case Kind::text:
      return std::hash<std::string_view>()(value.text());
    case Kind::tuple: {
      size_t hash = 17;
      for (const Value& item : value.items()) hash = hash * 31 + (*this)(item);
      return hash;
    }
    case Kind::object:
      return std::hash<const void*>()(value.identity());
    default:
      return static_cast<size_t>(value.kind());
  }
}

bool Equal::operator()(const Value& a, const Value& b) const {
  return equal(a, b);
}

void Dict::set(const Value& key, Value value) {
  const size_t at = position(key);
  if (at < entries_.size()) {
    entries_[at].second = std::move(value);
    return;
  }
  entries_.emplace_back(key, std::move(value));
  if (entries_.size() == linear_search + 1) {
    for (size_t i = 0; i < entries_.size(); ++i) index_.emplace(entries_[i].first, i);
  } else if (entries_.size() > linear_search) {
    index_.emplace(key, entries_.size() - 1);
  }
}

size_t Dict::position(const Value& key) const {
  require_hashable(key);
  if (entries_.size() > linear_search) {
    const auto found = index_.find(key);
    return found == index_.end() ? entries_.size() : found->second;
  }
  size_t at = 0;
  while (at < entries_.size() && !equal(entries_[at].first, key)) ++at;
  return at;
}

const Value* Dict::find(const Value& key) const {
  const size_t at = position(key);
  return at < entries_.size() ? &entries_[at].second : nullptr;
}

const Value* Dict::find(std::string_view key) const {
  if (entries_.size() > linear_search) return find(Value(key));
  for (const auto& [name, value] : entries_) {
    if (name.is_text() && name.text() == key) return &value;
  }
  return nullptr;
}

Extent Dict::extent() const {
  Extent extent;
  for (const auto& [key, value] : entries_) {
    extent.add(key);
    extent.add(value);
  }
  return extent;
}

std::string_view type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::none:
      return "NoneType";
    case Kind::boolean:
      return "bool";
    case Kind::integer:
      return "int";
    case Kind::real:
      return "float";
    case Kind::text:
      return value.markup() ? "Markup" : "str";
    case Kind::list:
      return "list";
    case Kind::tuple:
      return "tuple";
    case Kind::dict:
      return "dict";
    case Kind::missing:
      return "Undefined";
    case Kind::object:
      return value.object().type();
  }
  return "object";
}

std::string described_type(const Value& value) {
  if (value.is_none()) return "None";
  return fmt::format("{} object", type_name(value));
}

bool truth(const Value& value) {
  switch (value.kind()) {
    case Kind::none:
    case Kind::missing:
      return false;
    case Kind::boolean:
    case Kind::integer:
      return value.integer() != 0;
    case Kind::real:
      return value.real() != 0;
    case Kind::text:
      return !value.text().empty();
    case Kind::list:
    case Kind::tuple:
      return !value.items().empty();
    case Kind::dict:
      return value.dict().size() != 0;
    case Kind::object:
      return value.object().length().value_or(1) != 0;
  }
  return true;
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return equal_numbers(a, b);
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::text:
      return a.text() == b.text();
    case Kind::list:
    case Kind::tuple:
      return a.identity() == b.identity() || equal_items(a.items(), b.items());
    case Kind::dict:
      return a.identity() == b.identity() || equal_dicts(a.dict(), b.dict());
    case Kind::object:
      return a.identity() == b.identity() || a.object().equals(b.object());
    default:
      return true;  // None is None; all undefined values are equal
  }
}

const Value* unhashable_part(const Value& value) {
  if (value.is(Kind::list) || value.is(Kind::dict)) return &value;
  if (const auto* view = value.as<View>(); view && view->type() != "dict_values") return &value;
  if (value.is(Kind::tuple)) {
    for (const Value& item : value.items()) {
      if (const Value* part = unhashable_part(item)) return part;
    }
  }
  return nullptr;
}

void require_hashable(const Value& value) {
  if (const Value* part = unhashable_part(value)) {
    fail(ErrorCode::invalid_argument, "unhashable type: '{}'", type_name(*part));
  }
}

void require_defined(const Value& value) {
  if (value.is_missing()) fail(ErrorCode::invalid_argument, "{}", value.message());
}

}  // namespace cairn::jinja
