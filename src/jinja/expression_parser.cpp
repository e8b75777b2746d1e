#include "jinja/expression_parser.hpp"

#include "jinja/limits.hpp"

namespace cairn::jinja {
namespace {

std::optional<ast::Relation> relation(std::string_view symbol) {
  if (symbol == "==") return ast::Relation::equal;
  if (symbol == "!=") return ast::Relation::not_equal;
  if (symbol == "<") return ast::Relation::less;
  if (symbol == "<=") return ast::Relation::less_equal;
  if (symbol == ">") return ast::Relation::greater;
  if (symbol == ">=") return ast::Relation::greater_equal;
  return std::nullopt;
}

}  // namespace

ast::ExpressionPtr ExpressionParser::make(size_t at, decltype(ast::Expression::node) node) {
  auto expression = std::make_unique<ast::Expression>(ast::Expression{at, std::move(node)});
  ast::for_each_child(*expression, [&](const ast::Expression& child) {
    expression->height = std::max(expression->height, child.height + 1);
  });
  if (expression->height > limits::expression_height) {
    tokens_.stop(at, ErrorCode::unsupported,
                 fmt::format("an expression nested more than {} levels deep", limits::expression_height));
  }
  return expression;
}

ast::ExpressionPtr ExpressionParser::expression(bool conditional) {
  if (++depth_ > limits::expression_height) {
    tokens_.stop(tokens_.current().at, ErrorCode::unsupported,
                 fmt::format("an expression nested more than {} levels deep", limits::expression_height));
  }
  const size_t at = tokens_.current().at;
  Ptr value = logical_or();
  while (conditional && tokens_.skip_name("if")) {
    Ptr condition = logical_or();
    Ptr otherwise = tokens_.skip_name("else") ? expression() : nullptr;
    value = make(at, ast::Conditional{std::move(condition), std::move(value), std::move(otherwise)});
  }
  --depth_;
  return value;
}

ast::ExpressionPtr ExpressionParser::logical_or() {
  Ptr left = logical_and();
  while (tokens_.is_name("or")) {
    const size_t at = tokens_.take().at;
    left = make(at, ast::Logical{false, std::move(left), logical_and()});
  }
  return left;
}

ast::ExpressionPtr ExpressionParser::logical_and() {
  Ptr left = logical_not();
  while (tokens_.is_name("and")) {
    const size_t at = tokens_.take().at;
    left = make(at, ast::Logical{true, std::move(left), logical_not()});
  }
  return left;
}

ast::ExpressionPtr ExpressionParser::logical_not() {
  std::vector<size_t> places;
  while (tokens_.is_name("not")) places.push_back(tokens_.take().at);
  Ptr operand = comparison();
  for (; !places.empty(); places.pop_back()) {
    operand = make(places.back(), ast::Unary{ast::UnaryOperator::logical_not, std::move(operand)});
  }
  return operand;
}

ast::ExpressionPtr ExpressionParser::comparison() {
  const size_t at = tokens_.current().at;
  Ptr first = sum();
  std::vector<std::pair<ast::Relation, Ptr>> rest;
  for (;;) {
    if (tokens_.is(TokenKind::symbol)) {
      const auto found = relation(tokens_.current().text);
      if (!found) break;
      tokens_.take();
      rest.emplace_back(*found, sum());
    } else if (tokens_.skip_name("in")) {
      rest.emplace_back(ast::Relation::in, sum());
    } else if (tokens_.is_name("not") && tokens_.ahead().kind == TokenKind::name &&
               tokens_.ahead().text == "in") {
      tokens_.take();
      tokens_.take();
      rest.emplace_back(ast::Relation::not_in, sum());
    } else {
      break;
    }
  }
  if (rest.empty()) return first;
  return make(at, ast::Comparison{std::move(first), std::move(rest)});
}

ast::ExpressionPtr ExpressionParser::sum() {
  Ptr left = concat();
  while (tokens_.is_symbol("+") || tokens_.is_symbol("-")) {
    const Token token = tokens_.take();
    const auto op = token.text == "+" ? Arithmetic::add : Arithmetic::subtract;
    left = make(token.at, ast::Binary{op, std::move(left), concat()});
  }
  return left;
}

ast::ExpressionPtr ExpressionParser::concat() {
  const size_t at = tokens_.current().at;
  std::vector<Ptr> parts;
  parts.push_back(product());
  while (tokens_.skip_symbol("~")) parts.push_back(product());
  if (parts.size() == 1) return std::move(parts[0]);
  return make(at, ast::Concat{std::move(parts)});
}

ast::ExpressionPtr ExpressionParser::product() {
  Ptr left = power();
  for (;;) {
    Arithmetic op;
    if (tokens_.is_symbol("*")) {
      op = Arithmetic::multiply;
    } else if (tokens_.is_symbol("/")) {
      op = Arithmetic::divide;
    } else if (tokens_.is_symbol("//")) {
      op = Arithmetic::floor_divide;
    } else if (tokens_.is_symbol("%")) {
      op = Arithmetic::modulo;
    } else {
      return left;
    }
    const size_t at = tokens_.take().at;
    left = make(at, ast::Binary{op, std::move(left), power()});
  }
}

ast::ExpressionPtr ExpressionParser::power() {
  Ptr left = unary();
  while (tokens_.is_symbol("**")) {
    const size_t at = tokens_.take().at;
    left = make(at, ast::Binary{Arithmetic::power, std::move(left), unary()});
  }
  return left;
}

ast::ExpressionPtr ExpressionParser::unary(bool with_filters) {
  std::vector<std::pair<size_t, ast::UnaryOperator>> signs;
  while (tokens_.is_symbol("-") || tokens_.is_symbol("+")) {
    const Token token = tokens_.take();
    signs.emplace_back(token.at, token.text == "-" ? ast::UnaryOperator::minus : ast::UnaryOperator::plus);
  }
  Ptr operand = postfix(primary());
  for (; !signs.empty(); signs.pop_back()) {
    operand = make(signs.back().first, ast::Unary{signs.back().second, std::move(operand)});
  }
  return with_filters ? filters_and_tests(std::move(operand)) : std::move(operand);
}

ast::ExpressionPtr ExpressionParser::primary() {
  const Token token = tokens_.current();
  switch (token.kind) {
    case TokenKind::name:
      tokens_.take();
      if (token.text == "true" || token.text == "True") return make(token.at, ast::Constant{true});
      if (token.text == "false" || token.text == "False") return make(token.at, ast::Constant{false});
      if (token.text == "none" || token.text == "None") return make(token.at, ast::Constant{});
      special.caller |= token.text == "caller";
      special.varargs |= token.text == "varargs";
      special.kwargs |= token.text == "kwargs";
      return make(token.at, ast::Name{token.text});
    case TokenKind::text: {
      std::string text;  // adjacent strings are one
      while (tokens_.is(TokenKind::text)) text += tokens_.take().text;
      return make(token.at, ast::Constant{Value(std::move(text))});
    }
    case TokenKind::integer:
      tokens_.take();
      return make(token.at, ast::Constant{token.integer});
    case TokenKind::real:
      tokens_.take();
      return make(token.at, ast::Constant{token.real});
    default:
      break;
  }
  if (tokens_.skip_symbol("(")) {
    Ptr inside = tuple(true, {}, true);
    tokens_.expect_symbol(")");
    return inside;
  }
  if (tokens_.is_symbol("[")) return list();
  if (tokens_.is_symbol("{")) return dict();
  tokens_.stop(fmt::format("unexpected '{}'", describe(token)));
}

ast::ExpressionPtr ExpressionParser::tuple(bool conditional, std::string_view end_name, bool parenthesized) {
  const size_t at = tokens_.current().at;
  std::vector<Ptr> items;
  bool is_tuple = false;
  for (;;) {
    if (!items.empty()) tokens_.expect_symbol(",");
    if (tokens_.is(TokenKind::print_end) || tokens_.is(TokenKind::block_end) || tokens_.is_symbol(")") ||
        (!end_name.empty() && tokens_.is_name(end_name))) {
      break;
    }
    items.push_back(expression(conditional));
    if (!tokens_.is_symbol(",")) break;
    is_tuple = true;
  }
  if (!is_tuple) {
    if (!items.empty()) return std::move(items[0]);
    if (!parenthesized) {
      tokens_.stop(fmt::format("Expected an expression, got '{}'", describe(tokens_.current())));
    }
  }
  return make(at, ast::Tuple{std::move(items)});
}

ast::ExpressionPtr ExpressionParser::list() {
  const size_t at = tokens_.take().at;
  std::vector<Ptr> items;
  while (!tokens_.is_symbol("]")) {
    if (!items.empty()) tokens_.expect_symbol(",");
    if (tokens_.is_symbol("]")) break;
    items.push_back(expression());
  }
  tokens_.expect_symbol("]");
  return make(at, ast::List{std::move(items)});
}

ast::ExpressionPtr ExpressionParser::dict() {
  const size_t at = tokens_.take().at;
  std::vector<std::pair<Ptr, Ptr>> entries;
  while (!tokens_.is_symbol("}")) {
    if (!entries.empty()) tokens_.expect_symbol(",");
    if (tokens_.is_symbol("}")) break;
    Ptr key = expression();
    tokens_.expect_symbol(":");
    entries.emplace_back(std::move(key), expression());
  }
  tokens_.expect_symbol("}");
  return make(at, ast::DictLiteral{std::move(entries)});
}

}  // namespace cairn::jinja
