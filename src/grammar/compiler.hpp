#pragma once

#include <chrono>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "grammar/grammar.hpp"
#include "grammar/kind.hpp"

namespace cairn::grammar {

// What finding the allowed tokens of one text may take of its thread's time; whoever else is answered waits
// meanwhile. A token takes microseconds, the first ones of a grammar up to some tens of milliseconds.
struct MatchingTime {
  std::chrono::nanoseconds first = std::chrono::seconds(5), each = std::chrono::milliseconds(50);  // a token
};

// Makes grammars over a model's tokens. Safe to use from several threads. A matcher that takes longer than
// `most` throws Error unsupported.
class Compiler {
 public:
  explicit Compiler(std::shared_ptr<const text::Tokenizer> tokenizer, const MatchingTime& most = {})
      : tokenizer_(std::move(tokenizer)), most_(most) {}
  ~Compiler();
  Compiler(const Compiler&) = delete;
  Compiler& operator=(const Compiler&) = delete;

  // The library is opened, and the vocabulary handed to it, when the first grammar is asked for.
  // Errors: invalid_argument (it cannot be read, allows nothing, or asks for what cannot be enforced; a
  // schema's place is named), not_found and unsupported (libcairn_grammar.so is not there, is of another
  // build).
  std::shared_ptr<const Grammar> compile(Kind kind, std::string_view text);

 private:
  struct Library;
  struct Made {
    Kind kind;
    std::string text;
    std::shared_ptr<const Grammar> grammar;
  };
  std::shared_ptr<Library> library();

  const std::shared_ptr<const text::Tokenizer> tokenizer_;
  const MatchingTime most_;
  std::mutex mutex_;  // of what follows
  std::shared_ptr<Library> library_;
  std::list<Made> made_;  // the last ones that were asked for; the newest first
};

}  // namespace cairn::grammar
