// Options and results of answers, for sessions, chats and batches.
#ifndef CAIRN_GENERATE_HPP
#define CAIRN_GENERATE_HPP

#include <cairn/session.h>

#include <cairn/base.hpp>
#include <cstdio>
#include <exception>
#include <functional>
#include <optional>
#include <utility>

namespace cairn {
inline namespace v0 {

enum class Finish {
  stop = CAIRN_FINISH_STOP,
  length = CAIRN_FINISH_LENGTH,
  cancelled = CAIRN_FINISH_CANCELLED
};

enum class Speculation {
  none = CAIRN_SPECULATE_NONE,
  lookup = CAIRN_SPECULATE_LOOKUP,
  draft = CAIRN_SPECULATE_DRAFT,
  self = CAIRN_SPECULATE_SELF,
  automatic = CAIRN_SPECULATE_AUTO
};

// How likely a token was to the model itself, and the likeliest ones in its place (cairn_token_logprob).
struct TokenLogprobs {
  std::int32_t token;
  float logprob;
  std::vector<cairn_token_logprob> top;
};

enum class PieceKind {
  text = CAIRN_PIECE_TEXT,
  reasoning = CAIRN_PIECE_REASONING,
  call = CAIRN_PIECE_CALL,  // a function's name, whose arguments follow
  arguments = CAIRN_PIECE_ARGUMENTS
};

// A part of an answer with tools (cairn_piece).
struct Piece {
  PieceKind kind;
  std::string_view text;
  std::string_view id;  // of a call
};

struct ToolCall {
  std::string id, name;
  std::string arguments;  // JSON as the model wrote it: an object, unless the answer was cut
};

// One step of an answer; what it refers to lives as long as the callback runs.
struct TokenEvent {
  std::int32_t token;
  std::string_view text;
  const TokenLogprobs* logprobs = nullptr;  // with GenerateOptions::logprobs; not of token −1
  std::vector<Piece> pieces{};              // with GenerateOptions::tools
  const std::vector<TokenLogprobs>* prompt_logprobs = nullptr;  // with GenerateOptions::prompt_logprobs
};

// What cairn_generate_options has. What callbacks throw ends the answer and is thrown by the call, of a batch
// by Request::wait().
struct GenerateOptions {
  GenerateOptions() {
    cairn_generate_options usual;
    cairn_generate_options_init(&usual, sizeof usual);
    max_tokens = usual.max_tokens;
    temperature = usual.temperature;
    top_k = usual.top_k;
    top_p = usual.top_p;
    min_p = usual.min_p;
    repetition_penalty = usual.repetition_penalty;
    frequency_penalty = usual.frequency_penalty;
    presence_penalty = usual.presence_penalty;
    penalty_window = usual.penalty_window;
  }

  std::uint32_t max_tokens;
  bool ignore_end = false;
  std::vector<std::string> stop;
  float temperature;
  std::uint32_t top_k;
  float top_p, min_p, repetition_penalty, frequency_penalty, presence_penalty;
  std::uint32_t penalty_window;
  std::vector<cairn_logit_bias> biases;
  std::optional<std::uint64_t> seed;
  Speculation speculation = Speculation::none;
  std::optional<std::string> json_schema, regex, grammar;  // what the answer must match; at most one
  std::optional<std::uint32_t> logprobs;  // of each token, with those of so many of the likeliest ones
  // Functions that the answer may call, a JSON array; TemplateOptions::tools tells the model of them.
  std::optional<std::string> tools;
  std::string tool_choice;       // "auto" or empty, "none", "required", or JSON that names a function
  bool one_call = false;         // at most one where calls are required
  bool prompt_logprobs = false;  // Result has those of the prompt too; with `logprobs`
  std::function<bool(const TokenEvent&)> on_token;                           // false stops
  std::function<void(std::uint32_t done, std::uint32_t total)> on_progress;  // tokens of the prompt
  std::function<bool()> is_cancelled;                                        // true stops
};

struct Result {
  std::string text;
  std::vector<std::int32_t> tokens;
  std::vector<TokenLogprobs> logprobs;         // of those tokens, where they are asked for
  std::vector<TokenLogprobs> prompt_logprobs;  // of the prompt's from the second one on, likewise
  std::string message;                         // with tools: the answer as a message, JSON (cairn_result)
  std::vector<ToolCall> calls;                 // … and its calls
  std::string stop;                            // that matched; empty: none
  Finish finish = Finish::length;
  std::uint32_t prompt_tokens = 0, cached_tokens = 0, prefill_tokens = 0;
  std::uint32_t decode_tokens = 0, decode_steps = 0, guessed_tokens = 0, accepted_tokens = 0;
  double prefill_seconds = 0, decode_seconds = 0, first_token_seconds = 0;
};

namespace detail {

// The C options of `options`, with callbacks that lead to its functions. It stays where it is while it is
// used.
class Calls {
 public:
  explicit Calls(GenerateOptions from) : options_(std::move(from)) {
    cairn_generate_options_init(&c_, sizeof c_);
    for (const std::string& text : options_.stop) stop_.push_back(text.c_str());
    c_.max_tokens = options_.max_tokens;
    c_.ignore_end = options_.ignore_end ? 1 : 0;
    c_.stop = stop_.data();
    c_.stop_count = stop_.size();
    c_.temperature = options_.temperature;
    c_.top_k = options_.top_k;
    c_.top_p = options_.top_p;
    c_.min_p = options_.min_p;
    c_.repetition_penalty = options_.repetition_penalty;
    c_.frequency_penalty = options_.frequency_penalty;
    c_.presence_penalty = options_.presence_penalty;
    c_.penalty_window = options_.penalty_window;
    c_.biases = options_.biases.data();
    c_.bias_count = options_.biases.size();
    c_.seeded = options_.seed ? 1 : 0;
    c_.seed = options_.seed.value_or(0);
    c_.speculation = static_cast<std::int32_t>(options_.speculation);
    c_.json_schema = whole("json_schema", options_.json_schema);
    c_.regex = whole("regex", options_.regex);
    c_.grammar = whole("grammar", options_.grammar);
    c_.logprobs = options_.logprobs ? 1 : 0;
    c_.top_logprobs = options_.logprobs.value_or(0);
    c_.tools = whole("tools", options_.tools);
    if (!options_.tool_choice.empty()) c_.tool_choice = options_.tool_choice.c_str();
    c_.one_call = options_.one_call ? 1 : 0;
    if (options_.prompt_logprobs) c_.on_prompt = prompt;
    if (options_.on_token || options_.logprobs) c_.on_token = token;
    if (options_.on_progress) c_.on_progress = progress;
    c_.is_cancelled = cancelled;
    c_.user = this;
  }
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  const cairn_generate_options* c() const noexcept { return &c_; }
  // The answer to them, with what the callbacks alone heard of it. Throws what they threw.
  Result completed(Result result) {
    if (thrown_) std::rethrow_exception(thrown_);
    result.logprobs = std::move(logprobs_);
    result.prompt_logprobs = std::move(prompt_);
    return result;
  }

 private:
  // C would read a beginning of it, and hold the answer to something else.
  static const char* whole(const char* name, const std::optional<std::string>& text) {
    if (!text) return nullptr;
    if (text->find('\0') == std::string::npos) return text->c_str();
    cairn_error error{CAIRN_INVALID_ARGUMENT, {}};
    std::snprintf(error.message, sizeof error.message, "%s: U+0000 is in it", name);
    throw Error(error);
  }

  template <class Body>
  static int guarded(void* user, const Body& body) noexcept {
    Calls& calls = *static_cast<Calls*>(user);
    if (calls.thrown_) return 1;
    try {
      return body(calls) ? 0 : 1;
    } catch (...) {
      calls.thrown_ = std::current_exception();
      return 1;
    }
  }
  static int token(void* user, const cairn_token_event* event) {
    return guarded(user, [&](Calls& calls) {
      TokenEvent told{event->token, std::string_view(event->text, event->text_size)};
      if (calls.options_.logprobs && event->token >= 0) {
        const std::vector<cairn_token_logprob> top(event->top, event->top + event->top_count);
        calls.logprobs_.push_back({event->token, event->logprob, top});
        told.logprobs = &calls.logprobs_.back();
      }
      if (calls.options_.prompt_logprobs) told.prompt_logprobs = &calls.prompt_;
      for (std::size_t i = 0; i < event->piece_count; ++i) {
        const cairn_piece& piece = event->pieces[i];
        told.pieces.push_back(
            {static_cast<PieceKind>(piece.kind), std::string_view(piece.text, piece.text_size), piece.id});
      }
      return !calls.options_.on_token || calls.options_.on_token(told);
    });
  }
  static void prompt(void* user, std::uint32_t first, const cairn_prompt_token* tokens, std::size_t count) {
    guarded(user, [&](Calls& calls) {
      calls.prompt_.resize(first - 1);  // it may have been begun anew
      for (const cairn_prompt_token* one = tokens; one != tokens + count; ++one)
        calls.prompt_.push_back({one->token, one->logprob, {one->top, one->top + one->top_count}});
      return true;
    });
  }
  static void progress(void* user, std::uint32_t done, std::uint32_t total) {
    guarded(user, [&](Calls& calls) { return calls.options_.on_progress(done, total), true; });
  }
  // Always asked: what another callback threw ends the answer.
  static int cancelled(void* user) {
    return guarded(
        user, [](Calls& calls) { return !calls.options_.is_cancelled || !calls.options_.is_cancelled(); });
  }

  GenerateOptions options_;
  std::vector<const char*> stop_;
  cairn_generate_options c_;
  std::vector<TokenLogprobs> logprobs_, prompt_;
  std::exception_ptr thrown_;
};

// What a function with a cairn_result* and a cairn_error* as its last arguments answers.
template <class Function, class... Arguments>
Result answer(Function function, Arguments... arguments) {
  struct Owner {
    Owner() { c.size = sizeof c; }
    ~Owner() { cairn_result_clear(&c); }
    cairn_result c{};
  } owner;
  check(function, arguments..., &owner.c);
  const cairn_result& c = owner.c;
  Result result;
  result.text.assign(c.text, c.text_size);
  if (c.token_count > 0) result.tokens.assign(c.tokens, c.tokens + c.token_count);
  if (c.stop != nullptr) result.stop = c.stop;
  if (c.message != nullptr) result.message = c.message;
  for (std::size_t i = 0; i < c.call_count; ++i)
    result.calls.push_back({c.calls[i].id, c.calls[i].name, c.calls[i].arguments});
  result.finish = static_cast<Finish>(c.finish);
  result.prompt_tokens = c.prompt_tokens;
  result.cached_tokens = c.cached_tokens;
  result.prefill_tokens = c.prefill_tokens;
  result.decode_tokens = c.decode_tokens;
  result.decode_steps = c.decode_steps;
  result.guessed_tokens = c.guessed_tokens;
  result.accepted_tokens = c.accepted_tokens;
  result.prefill_seconds = c.prefill_seconds;
  result.decode_seconds = c.decode_seconds;
  result.first_token_seconds = c.first_token_seconds;
  return result;
}

}  // namespace detail

}  // namespace v0
}  // namespace cairn

#endif
