#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "llm/session.hpp"
#include "llm/stop_filter.hpp"

namespace cairn::llm {

// Error invalid_argument: longer than the context, or a token that is not in the vocabulary.
void check_prompt(const engine::Engine& engine, std::span<const Token> prompt);

// Error invalid_argument: options that contradict each other.
void check_options(const GenerateOptions& options);

// For GenerateOptions::prompt_logprobs, when tokens [first, first + count) of the prompt are read. logits:
// [count][row], the first `vocabulary` of each row count. Error numeric names the position.
void tell_prompt_logprobs(const GenerateOptions& options, std::span<const Token> prompt, size_t first,
                          size_t count, std::span<const float> logits, size_t row, size_t vocabulary);

// An answer under construction: tokens in, text out to the caller and into the result.
class Answer {
 public:
  // All must outlive it. Error as StopFilter.
  Answer(const text::Tokenizer& tokenizer, const GenerateOptions& options, const TokenCallback& callback,
         Result& result);

  // The reason to stop after this token, if there is one. Throws what the callback throws.
  std::optional<FinishReason> add(const Drawn& drawn);
  // Hands out what was held back; the incomplete character at the end may yet complete a stop string.
  void finish();

 private:
  // False once the caller wants no more; it is not called again then.
  bool send(Token token, const std::string& text, const TokenLogprobs* logprobs = nullptr);
  bool send(const TokenEvent& event);

  const text::Tokenizer& tokenizer_;
  const std::vector<Token>& shown_;
  text::Utf8Stream utf8_;
  StopFilter filter_;
  std::optional<AnswerParser> parser_;
  std::map<Token, std::string> stop_tokens_;
  const TokenCallback& callback_;
  Result& result_;
  bool wanted_ = true;
};

}  // namespace cairn::llm
