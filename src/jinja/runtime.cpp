#include "jinja/runtime.hpp"

#include <algorithm>

#include "jinja/limits.hpp"

namespace cairn::jinja {

void Scope::set(std::string_view name, Value value) {
  for (Variable& variable : variables_) {
    if (variable.name == name) {
      variable.value = std::move(value);
      variable.reserved = false;
      return;
    }
  }
  variables_.push_back({name, std::move(value), false});
}

void Scope::reserve(std::string_view name) {
  variables_.push_back({name, Value(), true});
}

const Scope::Variable* Scope::find(std::string_view name) const {
  for (const Variable& variable : variables_) {
    if (variable.name == name) return &variable;
  }
  return nullptr;
}

Runtime::Runtime(Clock clock, size_t input_bytes)
    : clock_(std::move(clock)),
      bytes_limit_(
          std::min(limits::bytes_at_most,
                   limits::bytes + limits::bytes_per_input * std::min(input_bytes, limits::bytes_at_most))) {}

Runtime::~Runtime() {
  for (const auto& object : namespaces_) object->clear();
  for (const auto& scope : scopes_) scope->clear();
}

void Runtime::step(size_t count) {
  steps_ += count;
  if (steps_ > limits::steps) fail(ErrorCode::unsupported, "more than {} steps of work", limits::steps);
}

void Runtime::made_text(size_t bytes) {
  if (bytes > limits::text) fail(ErrorCode::unsupported, "a text of more than {} bytes", limits::text);
  bytes_ += bytes;
  if (bytes_ > bytes_limit_) fail(ErrorCode::unsupported, "more than {} bytes of memory", bytes_limit_);
  step(bytes / 64);
}

void Runtime::made_items(size_t count) {
  // What a Value costs with the block that it points to, roughly.
  constexpr size_t item = 96;
  bytes_ += std::min(count, limits::bytes_at_most) * item;
  if (bytes_ > bytes_limit_) fail(ErrorCode::unsupported, "more than {} bytes of memory", bytes_limit_);
  step(count);
}

void Runtime::enter() {
  // leave() runs only for those that entered: count after the check.
  if (depth_ >= limits::recursion) {
    fail(ErrorCode::unsupported, "more than {} nested evaluations", limits::recursion);
  }
  ++depth_;
}

void Runtime::keep(std::shared_ptr<Namespace> object) {
  made_items(4);
  namespaces_.push_back(std::move(object));
}

void Runtime::keep(std::shared_ptr<Scope> scope) {
  if (!scopes_.empty() && scopes_.back() == scope) return;
  made_items(8);
  scopes_.push_back(std::move(scope));
}

void TextBuilder::room(size_t bytes) {
  if (bytes > limits::text - text_.size()) {
    fail(ErrorCode::unsupported, "a text of more than {} bytes", limits::text);
  }
}

TextBuilder& TextBuilder::operator+=(std::string_view piece) {
  room(piece.size());
  text_ += piece;
  return *this;
}

TextBuilder& TextBuilder::repeat(std::string_view piece, size_t count) {
  if (piece.empty()) return *this;
  room(count > limits::text ? limits::text + 1 : piece.size() * count);
  for (size_t i = 0; i < count; ++i) text_ += piece;
  return *this;
}

}  // namespace cairn::jinja
