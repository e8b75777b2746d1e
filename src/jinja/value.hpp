#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.hpp"

namespace cairn::jinja {

class Value;
class Object;
class Dict;

// A Python str; `markup` marks what the filters safe and escape made (markupsafe.Markup).
struct Text {
  std::string bytes;
  bool markup = false;
};

// jinja2's Undefined: prints as nothing, is false, and raises `message` when something is asked of it.
struct Missing {
  std::string message;
};

// Nodes of the expanded tree and its height. Values share their parts, so a few assignments can name a tree
// that is exponentially larger than the memory it takes; these two bound what printing, comparing and
// destroying it cost.
struct Extent {
  uint32_t weight = 1;
  uint32_t depth = 0;
  void add(const Value& part);  // Error when a limit is passed
};

struct Sequence {
  std::vector<Value> items;
  Extent extent;
};

enum class Kind { none, boolean, integer, real, text, list, tuple, dict, missing, object };

// A value of the template language: Python's object model as far as templates see it. Lists and dicts cannot
// change after they were made (transformers renders in jinja2's ImmutableSandboxedEnvironment), so they are
// shared.
class Value {
 public:
  Value() noexcept;  // None
  // Compiled in value.cpp alone: what copies, moves and destroys the storage is much code, and was half of
  // what the compiler did with each file.
  Value(const Value& other);
  Value(Value&& other) noexcept;
  Value& operator=(const Value& other);
  Value& operator=(Value&& other) noexcept;
  ~Value();
  template <std::same_as<bool> T>
  Value(T truth) : storage_(truth) {}
  template <std::integral T>
  requires(!std::same_as<T, bool> && !std::same_as<T, char>) Value(T number)
      : storage_(static_cast<int64_t>(number)) {}
  Value(double number) : storage_(number) {}
  Value(std::string text, bool markup = false);
  Value(std::string_view text);
  Value(const char* text);
  Value(std::shared_ptr<Object> object);

  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  static Value dict(Dict entries);
  static Value missing(std::string message);

  Kind kind() const noexcept { return static_cast<Kind>(storage_.index()); }
  bool is(Kind kind_) const noexcept { return kind() == kind_; }
  bool is_none() const noexcept { return is(Kind::none); }
  bool is_missing() const noexcept { return is(Kind::missing); }
  bool is_text() const noexcept { return is(Kind::text); }
  bool is_sequence() const noexcept { return is(Kind::list) || is(Kind::tuple); }
  // int or bool: Python's bool is an int
  bool is_integral() const noexcept { return is(Kind::integer) || is(Kind::boolean); }
  bool is_number() const noexcept { return is_integral() || is(Kind::real); }

  // Each requires the kind in its name.
  bool boolean() const { return std::get<bool>(storage_); }
  int64_t integer() const { return is(Kind::boolean) ? boolean() : std::get<int64_t>(storage_); }
  double real() const { return is(Kind::real) ? std::get<double>(storage_) : static_cast<double>(integer()); }
  std::string_view text() const { return std::get<std::shared_ptr<const Text>>(storage_)->bytes; }
  bool markup() const { return is_text() && std::get<std::shared_ptr<const Text>>(storage_)->markup; }
  const std::vector<Value>& items() const;
  const Dict& dict() const { return *std::get<std::shared_ptr<const Dict>>(storage_); }
  const std::string& message() const { return std::get<std::shared_ptr<const Missing>>(storage_)->message; }
  Object& object() const { return *std::get<std::shared_ptr<Object>>(storage_); }
  template <class T>
  T* as() const {  // nullptr unless an object of class T
    const auto* pointer = std::get_if<std::shared_ptr<Object>>(&storage_);
    return pointer ? dynamic_cast<T*>(pointer->get()) : nullptr;
  }

  Extent extent() const;
  const void* identity() const;  // address of what is shared; nullptr for numbers, booleans and None

 private:
  struct ListTag : std::shared_ptr<const Sequence> {};
  struct TupleTag : std::shared_ptr<const Sequence> {};
  std::variant<std::monostate, bool, int64_t, double, std::shared_ptr<const Text>, ListTag, TupleTag,
               std::shared_ptr<const Dict>, std::shared_ptr<const Missing>, std::shared_ptr<Object>>
      storage_;
};

struct Hash {
  size_t operator()(const Value& value) const;
};
struct Equal {
  bool operator()(const Value& a, const Value& b) const;
};

// Python's dict: keeps the order of insertion; 1, 1.0 and true are one key.
class Dict {
 public:
  using Entry = std::pair<Value, Value>;
  void set(const Value& key, Value value);    // Error when the key is not hashable
  const Value* find(const Value& key) const;  // nullptr if absent; Error when the key is not hashable
  const Value* find(std::string_view key) const;
  const std::vector<Entry>& entries() const noexcept { return entries_; }
  size_t size() const noexcept { return entries_.size(); }
  Extent extent() const;  // of all entries; Error when a limit is passed

 private:
  size_t position(const Value& key) const;  // size() if absent
  std::vector<Entry> entries_;
  std::unordered_map<Value, size_t, Hash, Equal> index_;  // filled once a linear search would be slow
  Extent sealed_;
  friend class Value;
};

std::string_view type_name(const Value& value);    // type(x).__name__
std::string described_type(const Value& value);    // jinja2.utils.object_type_repr
bool truth(const Value& value);                    // bool(x)
bool equal(const Value& a, const Value& b);        // a == b
const Value* unhashable_part(const Value& value);  // nullptr: can be a key
void require_hashable(const Value& value);

// Raises jinja2's UndefinedError when the value is undefined.
void require_defined(const Value& value);

}  // namespace cairn::jinja
