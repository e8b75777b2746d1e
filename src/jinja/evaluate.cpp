#include "jinja/builtins.hpp"
#include "jinja/interpreter.hpp"
#include "jinja/lexer.hpp"
#include "jinja/operators.hpp"
#include "jinja/represent.hpp"

// The interpreter's half for expressions.
namespace cairn::jinja {

Value Interpreter::evaluate(const ast::Expression& expression, const ScopePtr& scope) {
  const Nested nested(runtime_);
  runtime_.step();
  at_ = expression.at;
  return std::visit([&](const auto& node) { return compute(node, expression.at, scope); }, expression.node);
}

Value Interpreter::evaluate(const ast::ExpressionPtr& expression, const ScopePtr& scope) {
  return expression ? evaluate(*expression, scope) : Value();
}

Value Interpreter::made(Value value) {
  if (value.is_text()) runtime_.made_text(value.text().size());
  return value;
}

Value Interpreter::look_up(std::string_view name, const ScopePtr& scope) const {
  const auto undefined = [&] { return Value::missing(fmt::format("{} is undefined", represent_text(name))); };
  for (const Scope* frame = scope.get(); frame; frame = frame->parent().get()) {
    if (const auto* variable = frame->find(name)) return variable->reserved ? undefined() : variable->value;
  }
  if (const Value* value = variables_.dict().find(name)) return *value;
  if (const Method* global = find_global(name)) {
    return Value(std::make_shared<Function>(global->name, Value(), global->builtin));
  }
  return undefined();
}

std::vector<Value> Interpreter::items(const std::vector<ast::ExpressionPtr>& expressions,
                                      const ScopePtr& scope) {
  runtime_.made_items(expressions.size());
  std::vector<Value> out;
  out.reserve(expressions.size());
  for (const auto& expression : expressions) out.push_back(evaluate(*expression, scope));
  return out;
}

Value Interpreter::compute(const ast::Constant& node, size_t, const ScopePtr&) {
  return node.value;
}

Value Interpreter::compute(const ast::Name& node, size_t, const ScopePtr& scope) {
  return look_up(node.id, scope);
}

Value Interpreter::compute(const ast::List& node, size_t, const ScopePtr& scope) {
  return Value::list(items(node.items, scope));
}

Value Interpreter::compute(const ast::Tuple& node, size_t, const ScopePtr& scope) {
  return Value::tuple(items(node.items, scope));
}

Value Interpreter::compute(const ast::DictLiteral& node, size_t at, const ScopePtr& scope) {
  runtime_.made_items(node.entries.size() * 2);
  Dict dict;
  for (const auto& [key, value] : node.entries) {
    const Value name = evaluate(*key, scope);
    Value item = evaluate(*value, scope);
    at_ = at;
    dict.set(name, std::move(item));
  }
  return Value::dict(std::move(dict));
}

Value Interpreter::compute(const ast::Attribute& node, size_t at, const ScopePtr& scope) {
  const Value object = evaluate(*node.object, scope);
  at_ = at;
  return get_attribute(runtime_, object, node.name);
}

Value Interpreter::compute(const ast::Subscript& node, size_t at, const ScopePtr& scope) {
  const Value object = evaluate(*node.object, scope);
  const Value index = evaluate(*node.index, scope);
  at_ = at;
  return get_item(runtime_, object, index);
}

Value Interpreter::compute(const ast::Slice& node, size_t at, const ScopePtr& scope) {
  const Value object = evaluate(*node.object, scope);
  const Value start = evaluate(node.start, scope);
  const Value stop = evaluate(node.stop, scope);
  const Value step = evaluate(node.step, scope);
  at_ = at;
  return made(get_slice(runtime_, object, start, stop, step));
}

Arguments Interpreter::arguments(const ast::CallArguments& given, const ScopePtr& scope) {
  Arguments out;
  out.positional = items(given.positional, scope);
  for (const auto& [name, value] : given.named) out.named.emplace_back(name, evaluate(*value, scope));
  if (given.star) {
    for (Value& value : collect(runtime_, evaluate(*given.star, scope)))
      out.positional.push_back(std::move(value));
  }
  if (given.double_star) {
    const Value mapping = evaluate(*given.double_star, scope);
    if (!mapping.is(Kind::dict)) {
      fail(ErrorCode::invalid_argument, "argument after ** must be a mapping, not {}", type_name(mapping));
    }
    for (const auto& [key, value] : mapping.dict().entries()) {
      if (!key.is_text()) fail(ErrorCode::invalid_argument, "keywords must be strings");
      for (const auto& [name, unused] : out.named) {
        if (name == key.text()) {
          fail(ErrorCode::invalid_argument, "got multiple values for keyword argument '{}'", name);
        }
      }
      out.named.emplace_back(key.text(), value);
    }
    runtime_.made_items(mapping.dict().size());
  }
  return out;
}

Value Interpreter::call(const ast::Call& node, size_t at, const ScopePtr& scope, const Value* caller) {
  const Value callee = evaluate(*node.callee, scope);
  Arguments given = arguments(node.arguments, scope);
  if (caller) given.named.emplace_back("caller", *caller);
  at_ = at;
  return made(jinja::call(runtime_, callee, given));
}

Value Interpreter::compute(const ast::Call& node, size_t at, const ScopePtr& scope) {
  return call(node, at, scope, nullptr);
}

// Where check_names let it through.
void Interpreter::unknown(std::string_view what, std::string_view name, size_t at) {
  at_ = at;
  fail(ErrorCode::unsupported, "No {} named {} found.", what, represent_text(name));
}

Value Interpreter::compute(const ast::Filter& node, size_t at, const ScopePtr& scope) {
  if (!find_filter(node.name)) unknown("filter", node.name, at);
  const Value input = node.input ? evaluate(*node.input, scope) : *block_text_;
  const Arguments given = arguments(node.arguments, scope);
  at_ = at;
  return made(apply_filter(runtime_, node.name, input, given));
}

Value Interpreter::compute(const ast::Test& node, size_t at, const ScopePtr& scope) {
  if (!find_test(node.name)) unknown("test", node.name, at);
  const Value input = evaluate(*node.input, scope);
  const Arguments given = arguments(node.arguments, scope);
  at_ = at;
  return apply_test(runtime_, node.name, input, given);
}

Value Interpreter::compute(const ast::Unary& node, size_t at, const ScopePtr& scope) {
  const Value operand = evaluate(*node.operand, scope);
  at_ = at;
  switch (node.op) {
    case ast::UnaryOperator::logical_not:
      return !truth(operand);
    case ast::UnaryOperator::minus:
      return negate(operand);
    case ast::UnaryOperator::plus:
      return plus(operand);
  }
  return {};
}

Value Interpreter::compute(const ast::Binary& node, size_t at, const ScopePtr& scope) {
  const Value left = evaluate(*node.left, scope);
  const Value right = evaluate(*node.right, scope);
  at_ = at;
  return made(arithmetic(runtime_, node.op, left, right));
}

Value Interpreter::compute(const ast::Logical& node, size_t, const ScopePtr& scope) {
  Value left = evaluate(*node.left, scope);
  if (truth(left) != node.is_and) return left;
  return evaluate(*node.right, scope);
}

bool Interpreter::holds(ast::Relation relation, const Value& a, const Value& b) {
  switch (relation) {
    case ast::Relation::equal:
      return compare_equal(runtime_, a, b);
    case ast::Relation::not_equal:
      return !compare_equal(runtime_, a, b);
    case ast::Relation::less:
      return ordered(runtime_, Order::less, a, b);
    case ast::Relation::less_equal:
      return ordered(runtime_, Order::less_equal, a, b);
    case ast::Relation::greater:
      return ordered(runtime_, Order::greater, a, b);
    case ast::Relation::greater_equal:
      return ordered(runtime_, Order::greater_equal, a, b);
    case ast::Relation::in:
      return contains(runtime_, b, a);
    case ast::Relation::not_in:
      return !contains(runtime_, b, a);
  }
  return false;
}

Value Interpreter::compute(const ast::Comparison& node, size_t at, const ScopePtr& scope) {
  Value left = evaluate(*node.first, scope);
  for (const auto& [relation, operand] : node.rest) {
    Value right = evaluate(*operand, scope);
    at_ = at;
    if (!holds(relation, left, right)) return false;
    left = std::move(right);
  }
  return true;
}

Value Interpreter::compute(const ast::Concat& node, size_t at, const ScopePtr& scope) {
  TextBuilder out;
  for (const auto& part : node.parts) {
    const Value value = evaluate(*part, scope);
    at_ = at;
    out += to_text(runtime_, value);
  }
  return made(out.take());
}

Value Interpreter::compute(const ast::Conditional& node, size_t at, const ScopePtr& scope) {
  if (truth(evaluate(*node.condition, scope))) return evaluate(*node.then, scope);
  if (node.otherwise) return evaluate(*node.otherwise, scope);
  const std::string where = place(source_, at);
  return Value::missing(
      fmt::format("the inline if-expression on {} evaluated to false and no else section was defined.",
                  where.substr(0, where.find(','))));
}

}  // namespace cairn::jinja
