#include "jinja/interpreter.hpp"

#include "jinja/lexer.hpp"
#include "jinja/operators.hpp"
#include "jinja/represent.hpp"

// The interpreter's half for statements; loops and macros have files of their own.
namespace cairn::jinja {

std::string Interpreter::render() {
  try {
    const auto scope = std::make_shared<Scope>(nullptr);
    TextBuilder out;
    run(root_, scope, out);
    return out.take();
  } catch (const Error& error) {
    fail(error.code(), "chat template, {}: {}", place(source_, at_), error.what());
  }
}

Interpreter::Flow Interpreter::run(const ast::Frame& frame, const ScopePtr& scope, TextBuilder& out) {
  for (const auto& name : frame.reserved) {
    if (!scope->find(name)) scope->reserve(name);
  }
  return run(frame.block, scope, out);
}

Interpreter::Flow Interpreter::run(const ast::Block& block, const ScopePtr& scope, TextBuilder& out) {
  const Nested nested(runtime_);
  for (const auto& statement : block) {
    runtime_.step();
    at_ = statement.at;
    const Flow flow = std::visit([&](const auto& node) { return execute(node, scope, out); }, statement.node);
    if (flow != Flow::next) return flow;
  }
  return Flow::next;
}

Interpreter::Flow Interpreter::execute(const ast::Data& node, const ScopePtr&, TextBuilder& out) {
  out += node.text;
  return Flow::next;
}

Interpreter::Flow Interpreter::execute(const ast::Print& node, const ScopePtr& scope, TextBuilder& out) {
  for (const auto& expression : node.expressions) {
    const Value value = evaluate(*expression, scope);
    if (value.is_text()) {
      out += value.text();
    } else {
      out += to_text(runtime_, value);
    }
  }
  return Flow::next;
}

void Interpreter::require_namespaces(const ast::Target& target, const ScopePtr& scope) {
  for (const auto& member : target.members) require_namespaces(member, scope);
  if (target.attribute.empty()) return;
  at_ = target.at;
  if (!look_up(target.name, scope).as<Namespace>()) {
    fail(ErrorCode::invalid_argument, "cannot assign attribute on non-namespace object");
  }
}

void Interpreter::assign(const ast::Target& target, const Value& value, const ScopePtr& scope) {
  if (!target.attribute.empty()) {
    const Value object = look_up(target.name, scope);
    at_ = target.at;
    if (auto* space = object.as<Namespace>()) space->set(target.attribute, value);
    return;
  }
  if (!target.is_tuple) {
    scope->set(target.name, value);
    return;
  }
  at_ = target.at;
  const bool walkable = value.is_text() || value.is_sequence() || value.is(Kind::dict) ||
                        value.is_missing() || (value.is(Kind::object) && value.object().iterable());
  if (!walkable) {
    fail(ErrorCode::invalid_argument, "cannot unpack non-iterable {} object", type_name(value));
  }
  const auto iterator = iterate(runtime_, value);
  std::vector<Value> parts;
  for (Value part; parts.size() <= target.members.size() && iterator->next(part);)
    parts.push_back(std::move(part));
  if (parts.size() > target.members.size()) {
    fail(ErrorCode::invalid_argument, "too many values to unpack (expected {})", target.members.size());
  }
  if (parts.size() < target.members.size()) {
    fail(ErrorCode::invalid_argument, "not enough values to unpack (expected {}, got {})",
         target.members.size(), parts.size());
  }
  for (size_t i = 0; i < parts.size(); ++i) assign(target.members[i], parts[i], scope);
}

Value Interpreter::target_value(const ast::Target& target, const ScopePtr& scope) const {
  if (!target.is_tuple) return look_up(target.name, scope);
  std::vector<Value> parts;
  for (const auto& member : target.members) parts.push_back(target_value(member, scope));
  return Value::tuple(std::move(parts));
}

Interpreter::Flow Interpreter::execute(const ast::Set& node, const ScopePtr& scope, TextBuilder&) {
  require_namespaces(node.target, scope);
  assign(node.target, evaluate(*node.value, scope), scope);
  return Flow::next;
}

Value Interpreter::filtered(const ast::ExpressionPtr& filter, std::string text, const ScopePtr& scope) {
  runtime_.made_text(text.size());
  if (!filter) return Value(std::move(text));
  auto outer = std::exchange(block_text_, Value(std::move(text)));
  Value value = evaluate(*filter, scope);
  block_text_ = std::move(outer);
  return value;
}

Interpreter::Flow Interpreter::execute(const ast::SetBlock& node, const ScopePtr& scope, TextBuilder&) {
  const auto inner = std::make_shared<Scope>(scope);
  TextBuilder text;
  const Flow flow = run(node.body, inner, text);
  if (flow != Flow::next) return flow;
  const Value value = filtered(node.filter, text.take(), inner);
  require_namespaces(node.target, scope);
  assign(node.target, value, scope);
  return Flow::next;
}

Interpreter::Flow Interpreter::execute(const ast::If& node, const ScopePtr& scope, TextBuilder& out) {
  for (const auto& [condition, body] : node.branches) {
    if (truth(evaluate(*condition, scope))) return run(body, scope, out);
  }
  return run(node.otherwise, scope, out);
}

Interpreter::Flow Interpreter::execute(const ast::FilterBlock& node, const ScopePtr& scope,
                                       TextBuilder& out) {
  const auto inner = std::make_shared<Scope>(scope);
  TextBuilder text;
  const Flow flow = run(node.body, inner, text);
  if (flow != Flow::next) return flow;
  const Value value = filtered(node.filter, text.take(), inner);
  if (!value.is_text()) {  // jinja2 joins the pieces of the output as they are
    fail(ErrorCode::invalid_argument, "sequence item 0: expected str instance, {} found", type_name(value));
  }
  out += value.text();
  return Flow::next;
}

Interpreter::Flow Interpreter::execute(const ast::With& node, const ScopePtr& scope, TextBuilder& out) {
  const auto inner = std::make_shared<Scope>(scope);
  for (const auto& [target, value] : node.assignments) assign(target, evaluate(*value, scope), inner);
  return run(node.body, inner, out);
}

Interpreter::Flow Interpreter::execute(const ast::Generation& node, const ScopePtr& scope, TextBuilder& out) {
  return run(node.body, std::make_shared<Scope>(scope), out);
}

}  // namespace cairn::jinja
