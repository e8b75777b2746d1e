// grammar: what an answer may look like, as the tokens that may come next: JSON schemas, regular expressions,
// grammars. The matching is xgrammar's, in a library of its own (src/xgrammar).
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "text/tokenizer.hpp"

namespace cairn::grammar {

using text::Token;

// A text on its way through a grammar. Errors of all: unsupported, with the library's reason.
class Matcher {
 public:
  virtual ~Matcher() = default;
  // bits: [(vocabulary + 31) / 32]; bit t % 32 of word t / 32 tells whether token t may come next. Tokens
  // that end an answer are among them only where the grammar can end.
  virtual void allowed(std::span<uint32_t> bits) = 0;
  // False: this token may not come, and nothing has changed.
  virtual bool accept(Token token) = 0;
  // Takes back so many accepted tokens, at most all of them.
  virtual void rollback(size_t tokens) = 0;
  virtual bool can_end() const = 0;
};

// Immutable and safe to share between threads.
class Grammar {
 public:
  virtual ~Grammar() = default;
  virtual std::unique_ptr<Matcher> begin() const = 0;
};

}  // namespace cairn::grammar
