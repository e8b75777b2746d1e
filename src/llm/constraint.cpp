#include "llm/constraint.hpp"

#include <algorithm>
#include <limits>

#include "base/error.hpp"

namespace cairn::llm {

Constraint::Constraint(const grammar::Grammar* grammar, size_t vocabulary) {
  if (grammar == nullptr) return;
  matcher_ = grammar->begin();
  bits_.resize((vocabulary + 31) / 32);
}

bool Constraint::mask(std::span<float> logits) {
  if (!matcher_) return true;
  matcher_->allowed(bits_);
  bool any = false;
  for (size_t first = 0; first < logits.size(); first += 32) {
    const uint32_t word = bits_[first / 32];
    const auto values = logits.subspan(first, std::min<size_t>(32, logits.size() - first));
    any = any || word != 0;
    if (word == ~uint32_t{0}) continue;
    for (size_t i = 0; i < values.size(); ++i) {
      if ((word >> i & 1) == 0) values[i] = -std::numeric_limits<float>::infinity();
    }
  }
  if (!any && !matcher_->can_end())
    fail(ErrorCode::invalid_argument,
         "the grammar allows none of the model's tokens here, and the answer is not whole");
  return any;
}

void Constraint::push(Token token) {
  if (matcher_ && !matcher_->accept(token))
    fail(ErrorCode::invalid_argument, "token {} was chosen, which the grammar does not allow here", token);
}

size_t Constraint::count_allowed(std::span<const Token> tokens) {
  if (!matcher_) return tokens.size();
  size_t count = 0;
  bool fails = false;  // the next token will tell
  try {
    while (count < tokens.size() && matcher_->accept(tokens[count])) ++count;
  } catch (const Error&) {
    fails = true;
  }
  matcher_->rollback(count);
  return fails ? 0 : count;
}

}  // namespace cairn::llm
