#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "jinja/ast.hpp"
#include "jinja/runtime.hpp"

namespace cairn::jinja {

// Renders one template once: walks its tree with the frames' variables at hand. Everything that it refers to
// outlives it.
class Interpreter {
 public:
  // variables: a dict
  Interpreter(const ast::Frame& root, std::string_view source, const Value& variables, Runtime& runtime)
      : root_(root), source_(source), variables_(variables), runtime_(runtime) {}

  // Errors name line and column.
  std::string render();

  using ScopePtr = std::shared_ptr<Scope>;
  enum class Flow { next, leave_loop, next_turn };

  // For macros and loops, which are objects of the template and call back.
  Value call_macro(const ast::Macro& macro, const ScopePtr& outer, Arguments& arguments);
  Flow run_loop(const ast::For& loop, const Value& items, const ScopePtr& scope, size_t depth,
                TextBuilder& out);
  Runtime& runtime() { return runtime_; }

 private:
  Flow run(const ast::Block& block, const ScopePtr& scope, TextBuilder& out);
  Flow run(const ast::Frame& frame, const ScopePtr& scope, TextBuilder& out);
  Flow execute(const ast::Data& node, const ScopePtr& scope, TextBuilder& out);
  Flow execute(const ast::Print& node, const ScopePtr& scope, TextBuilder& out);
  Flow execute(const ast::Set& node, const ScopePtr& scope, TextBuilder& out);
  Flow execute(const ast::SetBlock& node, const ScopePtr& scope, TextBuilder& out);
  Flow execute(const ast::For& node, const ScopePtr& scope, TextBuilder& out);
  Flow execute(const ast::If& node, const ScopePtr& scope, TextBuilder& out);
  Flow execute(const ast::Macro& node, const ScopePtr& scope, TextBuilder& out);
  Flow execute(const ast::CallBlock& node, const ScopePtr& scope, TextBuilder& out);
  Flow execute(const ast::FilterBlock& node, const ScopePtr& scope, TextBuilder& out);
  Flow execute(const ast::With& node, const ScopePtr& scope, TextBuilder& out);
  Flow execute(const ast::Generation& node, const ScopePtr& scope, TextBuilder& out);
  Flow execute(const ast::Break&, const ScopePtr&, TextBuilder&) { return Flow::leave_loop; }
  Flow execute(const ast::Continue&, const ScopePtr&, TextBuilder&) { return Flow::next_turn; }

  void assign(const ast::Target& target, const Value& value, const ScopePtr& scope);
  Value target_value(const ast::Target& target, const ScopePtr& scope) const;
  void require_namespaces(const ast::Target& target, const ScopePtr& scope);
  Value filtered(const ast::ExpressionPtr& filter, std::string text, const ScopePtr& scope);
  Value macro_object(const ast::Macro& macro, const ScopePtr& scope);

  Value evaluate(const ast::Expression& expression, const ScopePtr& scope);
  Value evaluate(const ast::ExpressionPtr& expression, const ScopePtr& scope);  // None when absent
  Value compute(const ast::Constant& node, size_t at, const ScopePtr& scope);
  Value compute(const ast::Name& node, size_t at, const ScopePtr& scope);
  Value compute(const ast::List& node, size_t at, const ScopePtr& scope);
  Value compute(const ast::Tuple& node, size_t at, const ScopePtr& scope);
  Value compute(const ast::DictLiteral& node, size_t at, const ScopePtr& scope);
  Value compute(const ast::Attribute& node, size_t at, const ScopePtr& scope);
  Value compute(const ast::Subscript& node, size_t at, const ScopePtr& scope);
  Value compute(const ast::Slice& node, size_t at, const ScopePtr& scope);
  Value compute(const ast::Call& node, size_t at, const ScopePtr& scope);
  Value compute(const ast::Filter& node, size_t at, const ScopePtr& scope);
  Value compute(const ast::Test& node, size_t at, const ScopePtr& scope);
  Value compute(const ast::Unary& node, size_t at, const ScopePtr& scope);
  Value compute(const ast::Binary& node, size_t at, const ScopePtr& scope);
  Value compute(const ast::Logical& node, size_t at, const ScopePtr& scope);
  Value compute(const ast::Comparison& node, size_t at, const ScopePtr& scope);
  Value compute(const ast::Concat& node, size_t at, const ScopePtr& scope);
  Value compute(const ast::Conditional& node, size_t at, const ScopePtr& scope);

  Value call(const ast::Call& node, size_t at, const ScopePtr& scope, const Value* caller);
  Value look_up(std::string_view name, const ScopePtr& scope) const;
  std::vector<Value> items(const std::vector<ast::ExpressionPtr>& expressions, const ScopePtr& scope);
  Arguments arguments(const ast::CallArguments& given, const ScopePtr& scope);
  bool holds(ast::Relation relation, const Value& a, const Value& b);
  [[noreturn]] void unknown(std::string_view what, std::string_view name, size_t at);
  Value made(Value value);  // counts what a call or an operator has made

  const ast::Frame& root_;
  std::string_view source_;
  const Value& variables_;
  Runtime& runtime_;
  size_t at_ = 0;                    // what is being evaluated, for errors
  std::optional<Value> block_text_;  // what the filter without an input applies to
};

}  // namespace cairn::jinja
