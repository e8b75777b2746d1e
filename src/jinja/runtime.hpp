#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/object.hpp"
#include "jinja/value.hpp"

namespace cairn::jinja {

using Clock = std::function<std::chrono::system_clock::time_point()>;

// The variables of one frame of the template (the template itself, a loop's turn, a macro's call, ...).
class Scope {
 public:
  explicit Scope(std::shared_ptr<Scope> parent) : parent_(std::move(parent)) {}
  const std::shared_ptr<Scope>& parent() const noexcept { return parent_; }
  void set(std::string_view name, Value value);
  // A name that this frame will set later: until then it is undefined here, whatever an outer frame says.
  void reserve(std::string_view name);
  struct Variable {
    std::string_view name;  // of the syntax tree, which outlives every scope
    Value value;
    bool reserved = false;
  };
  const Variable* find(std::string_view name) const;  // nullptr if absent; not in the parents
  void clear() { variables_.clear(); }

 private:
  std::shared_ptr<Scope> parent_;
  std::vector<Variable> variables_;
};

// What one rendering has used up, and what it must tidy away at its end.
class Runtime {
 public:
  Runtime(Clock clock, size_t input_bytes);
  ~Runtime();
  Runtime(const Runtime&) = delete;

  void step(size_t count = 1);    // Error beyond limits::steps
  void made_text(size_t bytes);   // Error beyond limits::text and limits::bytes
  void made_items(size_t count);  // the same for elements of containers
  void enter();                   // Error beyond limits::recursion
  void leave() noexcept { --depth_; }
  std::chrono::system_clock::time_point now() const { return clock_(); }

  // Namespaces and frames that macros refer to can form cycles of shared pointers; what is kept here is
  // emptied when the rendering ends.
  void keep(std::shared_ptr<Namespace> object);
  void keep(std::shared_ptr<Scope> scope);

 private:
  Clock clock_;
  size_t steps_ = 0;
  size_t bytes_ = 0;
  size_t bytes_limit_;
  size_t depth_ = 0;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
  std::vector<std::shared_ptr<Scope>> scopes_;
};

// Marks one nested evaluation for as long as it lives.
class Nested {
 public:
  explicit Nested(Runtime& runtime) : runtime_(runtime) { runtime_.enter(); }
  ~Nested() { runtime_.leave(); }
  Nested(const Nested&) = delete;

 private:
  Runtime& runtime_;
};

// Appends to a string and stops before it outgrows its limit.
class TextBuilder {
 public:
  TextBuilder& operator+=(std::string_view piece);
  TextBuilder& repeat(std::string_view piece, size_t count);
  std::string take() { return std::move(text_); }
  const std::string& text() const noexcept { return text_; }

 private:
  void room(size_t bytes);
  std::string text_;
};

}  // namespace cairn::jinja
