#pragma once

#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "jinja/lexer.hpp"

namespace cairn::jinja {

// The parser's view of the tokens: one ahead, expectations, errors with their place.
class TokenStream {
 public:
  explicit TokenStream(std::string_view source);
  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take();
  bool is(TokenKind kind) const { return current().kind == kind; }
  bool is_name(std::string_view name) const { return is(TokenKind::name) && current().text == name; }
  bool is_symbol(std::string_view symbol) const { return is(TokenKind::symbol) && current().text == symbol; }
  bool skip_name(std::string_view name);  // true when it was there
  bool skip_symbol(std::string_view symbol);
  Token expect(TokenKind kind);  // Error format unless the current token is of this kind
  void expect_name(std::string_view name);
  void expect_symbol(std::string_view symbol);

  [[noreturn]] void stop(size_t at, ErrorCode code, const std::string& reason) const;
  [[noreturn]] void stop(const std::string& reason) const { stop(current().at, ErrorCode::format, reason); }

 private:
  std::string_view source_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
};

std::string describe(const Token& token);

}  // namespace cairn::jinja
