#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "grammar/grammar.hpp"

namespace cairn::llm {

using text::Token;

// A grammar's part in choosing an answer's tokens; without a grammar it does nothing. Errors of all: as
// grammar::Matcher.
class Constraint {
 public:
  // vocabulary: the tokenizer's.
  Constraint(const grammar::Grammar* grammar, size_t vocabulary);

  // Makes the logits of tokens that may not come −infinity; logits: [at most vocabulary]. False: nothing may
  // come any more, and the answer is whole. Error invalid_argument: nothing may come, and it is not.
  bool mask(std::span<float> logits);
  // The token that was chosen among those. Error invalid_argument: it was not one of them.
  void push(Token token);
  // So many of these tokens, one behind the other, may come: guesses that are worth checking.
  size_t count_allowed(std::span<const Token> tokens);

 private:
  std::unique_ptr<grammar::Matcher> matcher_;
  std::vector<uint32_t> bits_;
};

}  // namespace cairn::llm
