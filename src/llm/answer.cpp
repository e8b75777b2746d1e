#include "llm/answer.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace cairn::llm {

void check_prompt(const engine::Engine& engine, std::span<const Token> prompt) {
  if (prompt.size() > engine.context()) {
    fail(ErrorCode::invalid_argument, "the prompt has {} tokens, the context holds {}", prompt.size(),
         engine.context());
  }
  const size_t vocabulary = engine.model().parameters.vocabulary;
  for (size_t i = 0; i < prompt.size(); ++i) {
    if (prompt[i] >= 0 && static_cast<size_t>(prompt[i]) < vocabulary) continue;
    fail(ErrorCode::invalid_argument,
         "token {} at position {} of the prompt is not in the vocabulary of {} tokens", prompt[i], i,
         vocabulary);
  }
}

void check_options(const GenerateOptions& options) {
  if (options.grammar && options.ignore_end) {
    fail(ErrorCode::invalid_argument,
         "an answer that must match a grammar ends where the grammar does: it cannot go on behind the end");
  }
}

void tell_prompt_logprobs(const GenerateOptions& options, std::span<const Token> prompt, size_t first,
                          size_t count, std::span<const float> logits, size_t row, size_t vocabulary) {
  std::vector<TokenLogprobs> all;
  for (size_t i = 0; i < count && first + i + 1 < prompt.size(); ++i) {
    const auto one = logits.subspan(i * row, vocabulary);
    if (const auto bad = find_non_finite(one))
      fail(ErrorCode::numeric, "the logit of token {} after position {} is {}", *bad, first + i, one[*bad]);
    all.push_back(logprobs_of(one, prompt[first + i + 1], options.logprobs.value_or(0)));
  }
  options.prompt_logprobs(first + 1, all);
}

Answer::Answer(const text::Tokenizer& tokenizer, const GenerateOptions& options,
               const TokenCallback& callback, Result& result)
    : tokenizer_(tokenizer),
      shown_(options.shown),
      filter_(options.stop),
      callback_(callback),
      result_(result) {
  if (options.format) {
    parser_.emplace(*options.format);
    result_.message.emplace();
  }
  // A control token writes nothing that the filter could see.
  for (const std::string& text : options.stop) {
    const auto token = tokenizer.find(text);
    if (token && tokenizer.is_control(*token)) stop_tokens_.emplace(*token, text);
  }
}

std::optional<FinishReason> Answer::add(const Drawn& drawn) {
  const Token token = drawn.token;
  if (const auto stop = stop_tokens_.find(token); stop != stop_tokens_.end()) {
    result_.stop = stop->second;
    return FinishReason::stop;
  }
  result_.tokens.push_back(token);
  const bool shown = std::find(shown_.begin(), shown_.end(), token) != shown_.end();
  const bool wanted = send(token, filter_.push(utf8_.push(tokenizer_.piece(token, shown))),
                           drawn.logprobs ? &*drawn.logprobs : nullptr);
  if (filter_.stopped()) {
    result_.stop = filter_.matched();
    return FinishReason::stop;
  }
  return wanted ? std::nullopt : std::optional(FinishReason::cancelled);
}

void Answer::finish() {
  std::string rest = filter_.push(utf8_.finish());
  if (filter_.stopped()) {
    result_.stop = filter_.matched();
    result_.finish = FinishReason::stop;
  }
  rest += filter_.finish();
  if (!rest.empty()) send(-1, rest);
  if (!parser_) return;
  if (const auto pieces = parser_->finish(); !pieces.empty()) send({-1, {}, nullptr, pieces});
}

bool Answer::send(Token token, const std::string& text, const TokenLogprobs* logprobs) {
  result_.text += text;
  if (!parser_) return send({token, text, logprobs});
  const auto pieces = parser_->push(text);
  return send({token, text, logprobs, pieces});
}

bool Answer::send(const TokenEvent& event) {
  for (const Piece& piece : event.pieces) result_.message->add(piece);
  if (wanted_ && callback_) wanted_ = callback_(event);
  return wanted_;
}

}  // namespace cairn::llm
