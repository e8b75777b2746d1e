// llm: tokens in, tokens out: models, sessions with their KV cache, the sampler, chats.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.hpp"
#include "grammar/grammar.hpp"
#include "llm/answer_parser.hpp"
#include "llm/guesses.hpp"
#include "llm/logprobs.hpp"
#include "llm/sampler.hpp"
#include "llm/speculator.hpp"
#include "text/tokenizer.hpp"

namespace cairn::llm {

class PrefixFiles;

enum class FinishReason : uint8_t {
  stop,       // an end-of-generation token or a stop string
  length,     // max_tokens, or the context is full
  cancelled,  // `cancelled` or the callback said so
};
const char* name(FinishReason reason);

// One step of the answer. text: whole UTF-8 characters, empty while they are held back (an incomplete
// character, the beginning of a stop string) and for control tokens that are not shown. When the answer ends
// with text still held back and no stop string in it, a last event has token −1 and that text.
struct TokenEvent {
  Token token;
  std::string_view text;
  const TokenLogprobs* logprobs = nullptr;  // with GenerateOptions::logprobs; not for token −1
  // With GenerateOptions::format, what `text` completes. Where some are held back at the end, a last event
  // has token −1 and those.
  std::span<const Piece> pieces{};
};
using TokenCallback = std::function<bool(const TokenEvent&)>;  // false: stop here (finish reason cancelled)

struct GenerateOptions {
  uint32_t max_tokens = std::numeric_limits<uint32_t>::max();  // 0: prefill only
  SamplerOptions sampler;
  std::vector<std::string> stop;
  bool ignore_end = false;  // take end-of-generation tokens for ordinary ones
  // What the answer must match, at every temperature; null: anything. It is cut short by max_tokens, a stop
  // string or a full context. Not with ignore_end.
  std::shared_ptr<const grammar::Grammar> grammar{};
  std::vector<Token> shown;  // control tokens whose text is part of the answer's
  // The answer's text is told in pieces as well, and as a message; null: it is not looked at.
  std::shared_ptr<const AnswerFormat> format{};
  // Each token comes with its logprob and those of so many of the most likely ones; absent: without.
  std::optional<uint32_t> logprobs;
  // If set, the prompt is read from its beginning in pieces of about 64 tokens, and after each this is called
  // with the logprobs, as `logprobs` has them, of the prompt's tokens from `first` on that are known by then.
  // The first token has none. A scheduler that lacks pages may begin anew.
  std::function<void(size_t first, std::span<const TokenLogprobs>)> prompt_logprobs;
  // If set, the prompt is read from its beginning, and after each piece this is called with the hidden states
  // (engine::Slice::hidden) of the prompt's tokens from `first` on: [tokens][embedding]. A scheduler that
  // lacks pages may begin anew, and keeps nothing of such a prompt for others.
  std::function<void(size_t first, std::span<const float> states)> prompt_states;

  bool reads_anew() const { return prompt_logprobs || prompt_states; }
  Speculation speculation = Speculation::none;
  // Asked before every chunk of the prefill and every token, and by the engine between a chunk's layers,
  // always on the thread of the call; true stops.
  std::function<bool()> cancelled;
  // Called after every chunk of the prefill with the prompt's tokens that are in the cache, and all of them.
  std::function<void(uint32_t done, uint32_t total)> progress;
};

struct Statistics {
  uint32_t prompt_tokens = 0;
  uint32_t cached_tokens = 0;                        // of the prompt, read before
  uint32_t prefill_tokens = 0;                       // of the prompt, forwarded in this call
  uint32_t decode_tokens = 0;                        // sampled; the first token comes out of the prefill
  uint32_t decode_steps = 0;                         // that they took
  uint32_t guessed_tokens = 0, accepted_tokens = 0;  // read in those steps beside the sampled ones; right
  double prefill_seconds = 0;
  double decode_seconds = 0;       // of those steps, with sampling and callbacks
  double first_token_seconds = 0;  // from the call to the first token; 0 if there was none
  double prefill_threads = 0;      // that worked, on average; 0 when nothing was measured
  double decode_threads = 0;

  double prefill_rate() const;  // tokens a second, 0 when nothing was measured
  double decode_rate() const;
};

struct Result {
  std::string text;           // all events' texts
  std::vector<Token> tokens;  // the tokens generated, without the end-of-generation token
  FinishReason finish = FinishReason::length;
  std::string stop;                  // the stop string that matched, if one did
  std::optional<Message> message{};  // with GenerateOptions::format
  Statistics statistics;
};

// A conversation with one model: remembers which tokens its sequence has read, and runs only what a new
// prompt does not share with them. Not thread-safe; sessions of one engine may be used by threads of their
// own.
class Session {
 public:
  Session(std::shared_ptr<engine::Engine> engine, std::shared_ptr<const text::Tokenizer> tokenizer);

  // Continues the prompt. An empty prompt becomes the model's BOS token.
  // Errors: invalid_argument (options out of range, a prompt longer than the context, a token that is not in
  // the vocabulary, an empty prompt where the model has no BOS token, guesses that cannot be made, a grammar
  // that comes to where no token may follow), numeric
  // (NaN or infinity in the logits; names the position). After any error or exception of the callback the
  // session remains usable.
  Result generate(std::span<const Token> prompt, const GenerateOptions& options,
                  const TokenCallback& callback = {});

  void clear() { forget(0); }  // the next prompt is prefilled whole
  // A model of the same vocabulary (check_draft) for Speculation::draft and automatic. Its engine may be
  // shared; it reads what it drafts for too.
  void set_draft(std::shared_ptr<engine::Engine> draft);
  // Looks for what prompts begin with there, and keeps there what was read when an answer is whole.
  void keep_prefixes(std::shared_ptr<PrefixFiles> files) { files_ = std::move(files); }
  const std::vector<Token>& cached() const noexcept { return cached_; }
  const engine::Sequence& sequence() const noexcept { return *sequence_; }
  engine::Engine& engine() const noexcept { return *engine_; }
  const text::Tokenizer& tokenizer() const noexcept { return *tokenizer_; }

 private:
  bool prefill(std::span<const Token> prompt, const GenerateOptions& options, Statistics& statistics);
  void read(std::span<const Token> tokens, engine::Logits wanted, const engine::Cancelled& cancelled,
            float* states = nullptr);
  void read_guessed(std::vector<Token>& tokens);
  std::span<float> logits(size_t row, size_t behind);
  void forget(size_t length);
  void load_prefix(std::span<const Token> prompt);
  void save_prefix();

  std::shared_ptr<engine::Engine> engine_;
  std::unique_ptr<engine::Sequence> sequence_;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  std::vector<Token> cached_;  // the sequence's
  std::vector<float> logits_;  // [rows][vocabulary], of the last step
  size_t vocabulary_ = 0;
  std::shared_ptr<PrefixFiles> files_;
  // As they were after each piece of the prompt, for `files_`: windows let go of pages.
  std::vector<std::unique_ptr<engine::Sequence>> read_;
  Speculator speculator_;
  DraftText draft_text_{};
  size_t sampled_ = 0;  // tokens to choose from: embeddings may be padded beyond the tokenizer's vocabulary
};

}  // namespace cairn::llm
