#pragma once

#include "jinja/ast.hpp"
#include "jinja/token_stream.hpp"

namespace cairn::jinja {

// Expressions by recursive descent, with jinja2's precedences (which differ from Python's in places: ** binds
// to the left and weaker than a sign, filters and tests bind tighter than operators).
class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  ast::ExpressionPtr expression(bool conditional = true);
  // Commas make a tuple; `end_name` also ends it ("in" of a for loop).
  ast::ExpressionPtr tuple(bool conditional = true, std::string_view end_name = {},
                           bool parenthesized = false);
  ast::Target target(std::string_view end_name = {}, bool namespaces = false);  // what can be assigned to
  ast::ExpressionPtr filters(ast::ExpressionPtr input);       // "| name(...) | name", none or more
  ast::ExpressionPtr named_filter(ast::ExpressionPtr input);  // "name(...)"
  ast::CallArguments arguments();

  // The names among caller, varargs and kwargs that have been read so far; a macro takes what it reads.
  struct Special {
    bool caller = false, varargs = false, kwargs = false;
  };
  Special special;

 private:
  using Ptr = ast::ExpressionPtr;
  Ptr make(size_t at, decltype(ast::Expression::node) node);

  Ptr logical_or();
  Ptr logical_and();
  Ptr logical_not();
  Ptr comparison();
  Ptr sum();
  Ptr concat();
  Ptr product();
  Ptr power();
  Ptr unary(bool with_filters = true);
  Ptr primary();
  Ptr postfix(Ptr object);
  Ptr filters_and_tests(Ptr object);
  Ptr subscript(Ptr object);
  Ptr subscribed(Ptr object, size_t at);
  Ptr test(Ptr input);
  Ptr list();
  Ptr dict();
  ast::Target target_item(bool namespaces);
  std::string dotted_name();

  TokenStream& tokens_;
  size_t depth_ = 0;
};

}  // namespace cairn::jinja
