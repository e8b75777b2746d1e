#include "jinja/names.hpp"

#include "jinja/builtins.hpp"
#include "jinja/lexer.hpp"
#include "jinja/represent.hpp"

namespace cairn::jinja {
namespace {

class Checker {
 public:
  explicit Checker(std::string_view source) : source_(source) {}

  void check(const ast::Block& block, bool conditional) {
    for (const auto& statement : block) {
      std::visit([&](const auto& node) { check_node(node, conditional); }, statement.node);
    }
  }

 private:
  void check(const ast::ExpressionPtr& expression, bool conditional) {
    if (expression) check(*expression, conditional);
  }

  void check(const ast::Expression& expression, bool conditional) {
    if (!conditional) {
      if (const auto* filter = std::get_if<ast::Filter>(&expression.node);
          filter && !find_filter(filter->name)) {
        stop(expression.at, "filter", filter->name);
      }
      if (const auto* test = std::get_if<ast::Test>(&expression.node); test && !find_test(test->name)) {
        stop(expression.at, "test", test->name);
      }
    }
    conditional |= std::holds_alternative<ast::Conditional>(expression.node);
    ast::for_each_child(expression, [&](const ast::Expression& child) { check(child, conditional); });
  }

  [[noreturn]] void stop(size_t at, std::string_view what, std::string_view name) const {
    fail(ErrorCode::unsupported, "chat template, {}: No {} named {}.", place(source_, at), what,
         represent_text(name));
  }

  void check_node(const ast::Data&, bool) {}
  void check_node(const ast::Break&, bool) {}
  void check_node(const ast::Continue&, bool) {}
  void check_node(const ast::Print& node, bool conditional) {
    for (const auto& expression : node.expressions) check(expression, conditional);
  }
  void check_node(const ast::Set& node, bool conditional) { check(node.value, conditional); }
  void check_node(const ast::SetBlock& node, bool) {
    check(node.filter, false);
    check(node.body.block, false);
  }
  void check_node(const ast::For& node, bool conditional) {
    check(node.items, conditional);
    check(node.condition, false);
    check(node.body.block, false);
    check(node.otherwise.block, false);
  }
  void check_node(const ast::If& node, bool) {
    for (const auto& [condition, body] : node.branches) {
      check(condition, true);
      check(body, true);
    }
    check(node.otherwise, true);
  }
  void check_node(const ast::Macro& node, bool) {
    for (const auto& parameter : node.parameters) check(parameter.otherwise, false);
    check(node.body.block, false);
  }
  void check_node(const ast::CallBlock& node, bool conditional) {
    check_node(node.caller, false);
    check(node.call, conditional);
  }
  void check_node(const ast::FilterBlock& node, bool) {
    check(node.filter, false);
    check(node.body.block, false);
  }
  void check_node(const ast::With& node, bool conditional) {
    for (const auto& [target, value] : node.assignments) check(value, conditional);
    check(node.body.block, false);
  }
  void check_node(const ast::Generation& node, bool) { check(node.body.block, false); }

  std::string_view source_;
};

}  // namespace

void check_names(const ast::Frame& root, std::string_view source) {
  Checker(source).check(root.block, false);
}

}  // namespace cairn::jinja
