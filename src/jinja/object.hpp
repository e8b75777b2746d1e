#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jinja/value.hpp"

namespace cairn::jinja {

class Runtime;
class Iterator;

// The arguments of one call, evaluated.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// What is neither a number, a string nor a container: ranges, views, iterators, functions, loops, namespaces.
// The defaults are those of a plain Python object.
class Object : public std::enable_shared_from_this<Object> {
 public:
  virtual ~Object() = default;
  virtual std::string_view type() const = 0;  // type(x).__name__
  virtual std::string represent(Runtime& runtime) const;
  virtual std::optional<Value> attribute(Runtime&, std::string_view) { return std::nullopt; }
  virtual std::optional<Value> item(const Value&) const { return std::nullopt; }
  virtual std::optional<size_t> length() const { return std::nullopt; }
  virtual bool iterable() const { return false; }
  virtual std::shared_ptr<Iterator> iterate() { return nullptr; }
  virtual std::shared_ptr<Iterator> reversed() { return nullptr; }  // nullptr: not reversible
  virtual bool callable() const { return false; }
  virtual Value call(Runtime& runtime, Arguments& arguments);
  virtual bool equals(const Object&) const { return false; }
  virtual uint32_t depth() const { return 0; }  // see Extent
};

// Python's iterator protocol. Items are made when they are asked for, and only once: as in jinja2, what map
// and select return can be walked a single time.
class Iterator : public Object {
 public:
  virtual bool next(Value& item) = 0;  // false at the end
  bool iterable() const override { return true; }
  std::shared_ptr<Iterator> iterate() override {
    return std::static_pointer_cast<Iterator>(shared_from_this());
  }
};

class Generator : public Iterator {
 public:
  using Next = std::function<bool(Value&)>;
  Generator(std::string_view type, uint32_t depth, Next next)
      : type_(type), depth_(depth), next_(std::move(next)) {}
  std::string_view type() const override { return type_; }
  bool next(Value& item) override { return next_(item); }
  uint32_t depth() const override { return depth_; }

 private:
  std::string_view type_;
  uint32_t depth_;
  Next next_;
};

// `source` is what the generator walks; Error when generators are nested too deep.
std::shared_ptr<Iterator> generator(const Value& source, Generator::Next next,
                                    std::string_view type = "generator");

class Range : public Object {
 public:
  Range(int64_t start, int64_t stop, int64_t step);  // Error when it has more than limits::range items
  std::string_view type() const override { return "range"; }
  std::string represent(Runtime& runtime) const override;
  std::optional<Value> item(const Value& index) const override;
  std::optional<size_t> length() const override { return count_; }
  bool iterable() const override { return true; }
  std::shared_ptr<Iterator> iterate() override;
  std::shared_ptr<Iterator> reversed() override;
  bool equals(const Object& other) const override;
  Value at(size_t index) const { return start_ + static_cast<int64_t>(index) * step_; }
  bool contains(const Value& value) const;
  int64_t start() const { return start_; }
  int64_t step() const { return step_; }

 private:
  int64_t start_, stop_, step_;
  size_t count_;
};

// dict.keys(), dict.values(), dict.items()
class View : public Object {
 public:
  enum class Part { keys, values, items };
  View(Value dict, Part part) : dict_(std::move(dict)), part_(part) {}
  std::string_view type() const override;
  std::string represent(Runtime& runtime) const override;
  std::optional<size_t> length() const override { return dict_.dict().size(); }
  bool iterable() const override { return true; }
  std::shared_ptr<Iterator> iterate() override;
  std::shared_ptr<Iterator> reversed() override;
  bool equals(const Object& other) const override;
  uint32_t depth() const override { return dict_.extent().depth + 1; }
  Value at(size_t index) const;

 private:
  Value dict_;
  Part part_;
};

// namespace(): the one thing that a template can change.
class Namespace : public Object {
 public:
  std::string_view type() const override { return "namespace"; }
  std::string represent(Runtime& runtime) const override;
  std::optional<Value> attribute(Runtime& runtime, std::string_view name) override;
  void set(std::string_view name, Value value);  // Error for names with a leading underscore
  void clear() { attributes_ = Dict(); }

 private:
  Dict attributes_;
  mutable bool representing_ = false;
};

using Builtin = Value (*)(Runtime& runtime, const Value& self, const Arguments& arguments);

// A global function, or a method bound to its object.
class Function : public Object {
 public:
  Function(std::string_view name, Value self, Builtin builtin)
      : name_(name), self_(std::move(self)), builtin_(builtin) {}
  std::string_view type() const override { return "builtin_function_or_method"; }
  bool callable() const override { return true; }
  Value call(Runtime& runtime, Arguments& arguments) override { return builtin_(runtime, self_, arguments); }
  uint32_t depth() const override { return self_.extent().depth + 1; }

 private:
  std::string_view name_;
  Value self_;
  Builtin builtin_;
};

}  // namespace cairn::jinja
