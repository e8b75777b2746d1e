#include "jinja/expression_parser.hpp"

// What follows a value: subscripts, calls, filters, tests; and what can stand left of an assignment.
namespace cairn::jinja {

ast::ExpressionPtr ExpressionParser::postfix(Ptr object) {
  for (;;) {
    const size_t at = tokens_.current().at;
    if (tokens_.is_symbol(".") || tokens_.is_symbol("[")) {
      object = subscript(std::move(object));
    } else if (tokens_.is_symbol("(")) {
      auto given = arguments();
      object = make(at, ast::Call{std::move(object), std::move(given)});
    } else {
      return object;
    }
  }
}

ast::ExpressionPtr ExpressionParser::filters_and_tests(Ptr object) {
  for (;;) {
    const size_t at = tokens_.current().at;
    if (tokens_.is_symbol("|")) {
      object = filters(std::move(object));
    } else if (tokens_.is_name("is")) {
      object = test(std::move(object));
    } else if (tokens_.is_symbol("(")) {
      auto given = arguments();
      object = make(at, ast::Call{std::move(object), std::move(given)});
    } else {
      return object;
    }
  }
}

ast::ExpressionPtr ExpressionParser::subscript(Ptr object) {
  const Token token = tokens_.take();
  if (token.text == ".") {
    if (tokens_.is(TokenKind::name)) {
      return make(token.at, ast::Attribute{std::move(object), tokens_.take().text});
    }
    if (!tokens_.is(TokenKind::integer)) tokens_.stop("expected name or number");
    const Token index = tokens_.take();
    return make(token.at, ast::Subscript{std::move(object), make(index.at, ast::Constant{index.integer})});
  }
  object = subscribed(std::move(object), token.at);
  tokens_.expect_symbol("]");
  return object;
}

ast::ExpressionPtr ExpressionParser::subscribed(Ptr object, size_t at) {
  Ptr start;
  if (!tokens_.is_symbol(":")) {
    start = expression();
    if (tokens_.is_symbol(",")) {  // x[1, 2]: the key is a tuple
      std::vector<Ptr> keys;
      keys.push_back(std::move(start));
      while (tokens_.skip_symbol(",")) keys.push_back(expression());
      return make(at, ast::Subscript{std::move(object), make(at, ast::Tuple{std::move(keys)})});
    }
    if (!tokens_.is_symbol(":")) return make(at, ast::Subscript{std::move(object), std::move(start)});
  }
  tokens_.expect_symbol(":");
  Ptr stop, step;
  if (!tokens_.is_symbol(":") && !tokens_.is_symbol("]")) stop = expression();
  if (tokens_.skip_symbol(":") && !tokens_.is_symbol("]")) step = expression();
  return make(at, ast::Slice{std::move(object), std::move(start), std::move(stop), std::move(step)});
}

ast::CallArguments ExpressionParser::arguments() {
  ast::CallArguments given;
  const size_t at = tokens_.current().at;
  tokens_.expect_symbol("(");
  const auto ensure = [&](bool holds) {
    if (!holds) tokens_.stop(at, ErrorCode::format, "invalid syntax for function call expression");
  };
  bool first = true;
  while (!tokens_.is_symbol(")")) {
    if (!first) {
      tokens_.expect_symbol(",");
      if (tokens_.is_symbol(")")) break;
    }
    first = false;
    if (tokens_.skip_symbol("*")) {
      ensure(!given.star && !given.double_star);
      given.star = expression();
    } else if (tokens_.skip_symbol("**")) {
      ensure(!given.double_star);
      given.double_star = expression();
    } else if (tokens_.is(TokenKind::name) && tokens_.ahead().kind == TokenKind::symbol &&
               tokens_.ahead().text == "=") {
      ensure(!given.double_star);
      std::string name = tokens_.take().text;
      tokens_.take();
      for (const auto& [other, value] : given.named) {
        if (other == name) {
          tokens_.stop(at, ErrorCode::format, fmt::format("keyword argument repeated: {}", name));
        }
      }
      given.named.emplace_back(std::move(name), expression());
    } else {
      ensure(!given.star && !given.double_star && given.named.empty());
      given.positional.push_back(expression());
    }
  }
  tokens_.expect_symbol(")");
  return given;
}

std::string ExpressionParser::dotted_name() {
  std::string name = tokens_.expect(TokenKind::name).text;
  while (tokens_.skip_symbol(".")) name += "." + tokens_.expect(TokenKind::name).text;
  return name;
}

ast::ExpressionPtr ExpressionParser::named_filter(Ptr input) {
  const size_t at = tokens_.current().at;
  std::string name = dotted_name();
  auto given = tokens_.is_symbol("(") ? arguments() : ast::CallArguments{};
  return make(at, ast::Filter{std::move(input), std::move(name), std::move(given)});
}

ast::ExpressionPtr ExpressionParser::filters(Ptr input) {
  while (tokens_.skip_symbol("|")) input = named_filter(std::move(input));
  return input;
}

ast::ExpressionPtr ExpressionParser::test(Ptr input) {
  const size_t at = tokens_.take().at;
  const bool negated = tokens_.skip_name("not");
  std::string name = dotted_name();
  ast::CallArguments given;
  const bool begins_value = tokens_.is(TokenKind::name) || tokens_.is(TokenKind::text) ||
                            tokens_.is(TokenKind::integer) || tokens_.is(TokenKind::real) ||
                            tokens_.is_symbol("[") || tokens_.is_symbol("{");
  if (tokens_.is_symbol("(")) {
    given = arguments();
  } else if (begins_value && !tokens_.is_name("else") && !tokens_.is_name("or") && !tokens_.is_name("and")) {
    if (tokens_.is_name("is")) tokens_.stop("You cannot chain multiple tests with is");
    given.positional.push_back(postfix(primary()));
  }
  Ptr tested = make(at, ast::Test{std::move(input), std::move(name), std::move(given)});
  return negated ? make(at, ast::Unary{ast::UnaryOperator::logical_not, std::move(tested)})
                 : std::move(tested);
}

ast::Target ExpressionParser::target_item(bool namespaces) {
  const Token token = tokens_.current();
  ast::Target target;
  target.at = token.at;
  if (tokens_.skip_symbol("(")) {
    if (++depth_ > 50) tokens_.stop("an assignment target nested more than 50 levels deep");
    target = this->target({}, namespaces);
    --depth_;
    tokens_.expect_symbol(")");
    return target;
  }
  if (token.kind != TokenKind::name) {
    tokens_.stop(fmt::format("can't assign to '{}'", describe(token)));
  }
  for (const std::string_view constant : {"true", "false", "none", "True", "False", "None"}) {
    if (token.text == constant) tokens_.stop(fmt::format("can't assign to '{}'", constant));
  }
  target.name = tokens_.take().text;
  if (namespaces && tokens_.skip_symbol(".")) target.attribute = tokens_.expect(TokenKind::name).text;
  return target;
}

ast::Target ExpressionParser::target(std::string_view end_name, bool namespaces) {
  ast::Target tuple;
  tuple.at = tokens_.current().at;
  for (;;) {
    const bool ends = tokens_.is(TokenKind::block_end) || tokens_.is_symbol(")") || tokens_.is_symbol("=") ||
                      (!end_name.empty() && tokens_.is_name(end_name));
    if (ends && (tuple.is_tuple || !tuple.members.empty())) break;
    tuple.members.push_back(target_item(namespaces));
    if (!tokens_.skip_symbol(",")) break;
    tuple.is_tuple = true;
  }
  if (!tuple.is_tuple) return std::move(tuple.members[0]);
  return tuple;
}

}  // namespace cairn::jinja
