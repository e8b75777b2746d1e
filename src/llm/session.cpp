#include "llm/session.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "llm/answer.hpp"
#include "llm/constraint.hpp"
#include "llm/prefix_files.hpp"

namespace cairn::llm {
namespace {

double rate(uint32_t tokens, double seconds) {
  return tokens > 0 && seconds > 0 ? tokens / seconds : 0;
}

// What the draft has read is an answer's own for as long as it lasts.
class Loan {
 public:
  Loan(DraftText& to, DraftText& from) : to_(to), from_(from) { std::swap(to_, from_); }
  ~Loan() { std::swap(to_, from_); }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;

 private:
  DraftText &to_, &from_;
};

}  // namespace

const char* name(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::cancelled:
      return "cancelled";
  }
  return "unknown";
}

double Statistics::prefill_rate() const {
  return rate(prefill_tokens, prefill_seconds);
}
double Statistics::decode_rate() const {
  return rate(decode_tokens, decode_seconds);
}

Session::Session(std::shared_ptr<engine::Engine> engine, std::shared_ptr<const text::Tokenizer> tokenizer)
    : engine_(std::move(engine)),
      sequence_(engine_->make_sequence()),
      tokenizer_(std::move(tokenizer)),
      vocabulary_(engine_->model().parameters.vocabulary),
      speculator_(engine_, std::min(vocabulary_, tokenizer_->vocabulary())),
      sampled_(std::min(vocabulary_, tokenizer_->vocabulary())) {}

void Session::set_draft(std::shared_ptr<engine::Engine> draft) {
  draft_text_ = {};
  speculator_.set_draft(std::move(draft));
}

// Goes back to the first `length` tokens, or further.
void Session::forget(size_t length) {
  cached_.resize(sequence_->truncate(static_cast<uint32_t>(length)));
}

void Session::read(std::span<const Token> tokens, engine::Logits wanted, const engine::Cancelled& cancelled,
                   float* states) {
  const size_t rows = wanted == engine::Logits::all ? tokens.size() : 1;
  logits_.resize(std::max(logits_.size(), rows * vocabulary_));
  engine_->step({sequence_.get(), tokens, wanted, logits_.data(), 0, states}, cancelled);
  cached_.insert(cached_.end(), tokens.begin(), tokens.end());
}

// The last token with guesses behind it, which are left out where there are no pages for them. Not cancelled:
// it is short, and was asked before.
void Session::read_guessed(std::vector<Token>& tokens) {
  try {
    read(tokens, engine::Logits::all, {});
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_memory || tokens.size() == 1) throw;
    tokens.resize(1);
    read(tokens, engine::Logits::all, {});
  }
}

// Takes up what is on disk, where that is more than is there already.
void Session::load_prefix(std::span<const Token> prompt) {
  const auto size = static_cast<uint32_t>(prompt.size());
  const uint32_t there = usable_prefix(files_->there(prompt), size, engine_->chunk());
  if (there <= cached_.size()) return;
  forget(cached_.size() / kBlock * kBlock);
  try {
    files_->load(*engine_, *sequence_, prompt.first(there));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_memory) throw;  // whoever reads the rest is told
  }
  cached_.assign(prompt.begin(), prompt.begin() + sequence_->length());
}

void Session::save_prefix() {
  if (!files_) return;
  for (const auto& read : read_) files_->save(*engine_, *read, cached_);
  files_->save(*engine_, *sequence_, cached_);
  read_.clear();
}

// Those after the token that has so many behind it in the sequence.
std::span<float> Session::logits(size_t row, size_t behind) {
  const auto found = std::span(logits_).subspan(row * vocabulary_, vocabulary_);
  if (const auto bad = find_non_finite(found)) {
    const size_t position = cached_.size() - behind - 1;
    clear();  // who knows what is in its pages
    fail(ErrorCode::numeric, "the logit of token {} after position {} is {}", *bad, position, found[*bad]);
  }
  return found.first(sampled_);
}

// False when it was cancelled: the chunks done so far stay read.
bool Session::prefill(std::span<const Token> prompt, const GenerateOptions& options, Statistics& statistics) {
  const Stopwatch watch;
  const ThreadUse used = engine_->thread_use();
  const size_t comparable =
      std::min(cached_.size(), prompt.size() - 1);  // the last token's logits are needed
  const auto [differs, unused] =
      std::mismatch(prompt.begin(), prompt.begin() + static_cast<ptrdiff_t>(comparable), cached_.begin());
  forget(options.reads_anew() ? 0 : static_cast<size_t>(differs - prompt.begin()));
  if (files_ && !options.reads_anew()) load_prefix(prompt);
  const size_t shared = cached_.size();
  statistics.prompt_tokens = static_cast<uint32_t>(prompt.size());
  statistics.cached_tokens = static_cast<uint32_t>(shared);
  std::vector<float> states;
  for (size_t done = shared; done < prompt.size();) {
    if (options.cancelled && options.cancelled()) return false;
    const auto total = static_cast<uint32_t>(prompt.size());
    const uint32_t most = options.prompt_logprobs ? kBlock : engine_->chunk();
    const uint32_t size = next_piece(static_cast<uint32_t>(done), total, engine_->chunk(), most);
    if (options.prompt_states) states.resize(size * size_t{engine_->model().parameters.embedding});
    try {
      const bool last = done + size == prompt.size() && options.max_tokens > 0;
      const auto rest = last ? engine::Logits::last : engine::Logits::none;
      read(prompt.subspan(done, size), options.prompt_logprobs ? engine::Logits::all : rest,
           options.cancelled, states.empty() ? nullptr : states.data());
    } catch (const Error& error) {
      if (error.code() != ErrorCode::cancelled) throw;
      return false;
    }
    done += size;
    if (options.prompt_states) options.prompt_states(done - size, states);
    if (options.prompt_logprobs) {
      tell_prompt_logprobs(options, prompt, done - size, size, logits_, vocabulary_, sampled_);
      std::copy_n(logits_.begin() + static_cast<ptrdiff_t>((size - 1) * vocabulary_), vocabulary_,
                  logits_.begin());
    }
    if (files_) read_.push_back(sequence_->fork());
    statistics.prefill_tokens += size;
    statistics.prefill_seconds = watch.seconds();
    statistics.prefill_threads = engine_->thread_use().since(used).mean();
    if (options.progress) options.progress(static_cast<uint32_t>(done), statistics.prompt_tokens);
  }
  return true;
}

Result Session::generate(std::span<const Token> prompt, const GenerateOptions& options,
                         const TokenCallback& callback) {
  const Stopwatch watch;
  const std::optional<Token> bos = prompt.empty() ? tokenizer_->bos() : std::nullopt;
  if (prompt.empty()) {
    if (!bos)
      fail(ErrorCode::invalid_argument, "the prompt is empty and the model has no BOS token to start from");
    prompt = {&*bos, 1};
  }
  check_prompt(*engine_, prompt);
  check_options(options);
  speculator_.check(options.speculation);
  read_.clear();
  Sampler sampler(options.sampler, sampled_);
  Result result;
  Constraint constraint(options.grammar.get(), tokenizer_->vocabulary());
  Answer answer(*tokenizer_, options, callback, result);
  if (!prefill(prompt, options, result.statistics)) {
    result.finish = FinishReason::cancelled;
    return result;
  }

  std::vector<Token> history(prompt.begin(), prompt.end());
  Guesses guesses(options.speculation, prompt);
  const Loan loan(guesses.draft_text(), draft_text_);
  Statistics& statistics = result.statistics;
  Stopwatch decode_watch;
  const ThreadUse used = engine_->thread_use();
  std::vector<Token> tokens;  // of a step: the last one, and guesses of what follows
  for (bool over = false; !over && result.tokens.size() < options.max_tokens;) {
    if (options.cancelled && options.cancelled()) {
      result.finish = FinishReason::cancelled;
      break;
    }
    const bool decoding = !result.tokens.empty();
    tokens.assign(1, history.back());
    if (decoding) {
      const size_t room = engine_->context() - cached_.size(),
                   left = options.max_tokens - result.tokens.size();
      if (room == 0) break;
      const Speculator::Text text{&guesses, history, sequence_.get(), std::min(room, left) - 1};
      speculator_.guess({&text, 1}, 1, std::numeric_limits<uint32_t>::max(), options.cancelled);
      const std::span<const Token> guessed = guesses.tokens();
      const auto allowed = guessed.first(constraint.count_allowed(guessed));
      tokens.insert(tokens.end(), allowed.begin(), allowed.end());
      const Stopwatch step_watch;
      read_guessed(tokens);
      speculator_.learn(tokens.size(), step_watch.seconds());
    }
    // A guess is right where the sampler takes it; what stands behind a wrong one was read in vain.
    size_t row = 0;
    while (true) {
      const auto drawn =
          draw(sampler, constraint, logits(row, tokens.size() - row - 1), history, options.logprobs);
      over = !drawn;
      if (over) {
        result.finish = FinishReason::stop;
        break;
      }
      const Token token = drawn->token;
      if (!decoding) {
        statistics.first_token_seconds = watch.seconds();
        decode_watch.restart();
      }
      statistics.decode_tokens += decoding ? 1 : 0;
      over = !options.ignore_end && tokenizer_->is_end(token);
      if (over) {
        result.finish = FinishReason::stop;
        break;
      }
      history.push_back(token);
      guesses.push(token);
      if (const auto reason = answer.add(*drawn)) {
        result.finish = *reason;
        over = true;
        break;
      }
      if (row + 1 == tokens.size() || tokens[row + 1] != token) break;
      ++row;
    }
    if (!decoding) continue;
    guesses.learn(tokens.size() - 1, row);
    forget(cached_.size() - (tokens.size() - 1 - row));
    ++statistics.decode_steps;
    statistics.guessed_tokens += static_cast<uint32_t>(tokens.size() - 1);
    statistics.accepted_tokens += static_cast<uint32_t>(row);
  }
  if (statistics.decode_tokens > 0) {
    statistics.decode_seconds = decode_watch.seconds();
    statistics.decode_threads = engine_->thread_use().since(used).mean();
  }
  answer.finish();
  if (result.finish != FinishReason::cancelled) save_prefix();
  return result;
}

}  // namespace cairn::llm
