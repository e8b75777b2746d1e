#include "jinja/token_stream.hpp"

namespace cairn::jinja {
namespace {

std::string_view describe(TokenKind kind) {
  switch (kind) {
    case TokenKind::data:
      return "template data";
    case TokenKind::block_begin:
      return "begin of statement block";
    case TokenKind::block_end:
      return "end of statement block";
    case TokenKind::print_begin:
      return "begin of print statement";
    case TokenKind::print_end:
      return "end of print statement";
    case TokenKind::name:
      return "name";
    case TokenKind::text:
      return "string";
    case TokenKind::integer:
      return "integer";
    case TokenKind::real:
      return "float";
    case TokenKind::symbol:
      return "symbol";
    case TokenKind::end:
      return "end of template";
  }
  return "token";
}

}  // namespace

std::string describe(const Token& token) {
  if (token.kind == TokenKind::name || token.kind == TokenKind::symbol || token.kind == TokenKind::text) {
    return token.text;
  }
  if (token.kind == TokenKind::integer) return fmt::format("{}", token.integer);
  if (token.kind == TokenKind::real) return fmt::format("{}", token.real);
  return std::string(describe(token.kind));
}

TokenStream::TokenStream(std::string_view source) : source_(source), tokens_(tokenize(source)) {}

Token TokenStream::take() {
  Token token = current();
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool TokenStream::skip_name(std::string_view name) {
  if (!is_name(name)) return false;
  take();
  return true;
}

bool TokenStream::skip_symbol(std::string_view symbol) {
  if (!is_symbol(symbol)) return false;
  take();
  return true;
}

Token TokenStream::expect(TokenKind kind) {
  if (!is(kind)) stop(fmt::format("expected {}, got '{}'", describe(kind), jinja::describe(current())));
  return take();
}

void TokenStream::expect_name(std::string_view name) {
  if (!skip_name(name)) stop(fmt::format("expected '{}', got '{}'", name, jinja::describe(current())));
}

void TokenStream::expect_symbol(std::string_view symbol) {
  if (!skip_symbol(symbol)) stop(fmt::format("expected '{}', got '{}'", symbol, jinja::describe(current())));
}

void TokenStream::stop(size_t at, ErrorCode code, const std::string& reason) const {
  fail(code, "chat template, {}: {}", place(source_, at), reason);
}

}  // namespace cairn::jinja
