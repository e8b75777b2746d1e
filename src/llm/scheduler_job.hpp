#pragma once

#include <atomic>
#include <exception>
#include <future>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "llm/answer.hpp"
#include "llm/constraint.hpp"
#include "llm/sampler.hpp"
#include "llm/scheduler.hpp"

namespace cairn::llm {

// A request from its taking to its end. The scheduler's thread has it to itself but for what says otherwise.
struct Scheduler::Job {
  Job(Request taken, const text::Tokenizer& tokenizer, size_t sampled)
      : request(std::move(taken)),
        sampler(request.options.sampler, sampled),
        constraint(request.options.grammar.get(), tokenizer.vocabulary()),
        answer(tokenizer, request.options, request.token, result),
        history(request.prompt),
        guesses(request.options.speculation, request.prompt) {}

  uint32_t prompt() const { return static_cast<uint32_t>(request.prompt.size()); }
  // Its prompt is read; the last of `history` is still to be.
  bool decodes() const { return sequence && sequence->length() >= prompt(); }
  bool wants_out() const { return cancelled || (request.options.cancelled && request.options.cancelled()); }

  const Request request;
  Sampler sampler;
  Constraint constraint;
  Result result;
  Answer answer;
  std::vector<Token> history;  // prompt and answer
  std::unique_ptr<engine::Sequence> sequence;
  // Tokens of `sequence` that are those of `history`: guesses behind them may not be.
  uint32_t right = std::numeric_limits<uint32_t>::max();
  Guesses guesses;
  bool draft_kept = false;       // what a small model has read of its prompt
  std::vector<Token> coming;     // of its next step, where it decodes: the last token, and guesses
  std::vector<float> logits;     // [vocabulary], of the last position; of all that are coming
  std::vector<float> states;     // of the piece of the prompt that is read, where they are asked for
  uint64_t served = 0;           // the last turn that read a piece of the prompt
  std::exception_ptr no_room{};  // why it waits for pages; null: it does not
  Stopwatch since_taken, since_begun, since_first;
  bool ended = false;
  std::atomic<bool> cancelled{false};  // by any thread
  std::promise<Result> promise;
  std::future<Result> future = promise.get_future();  // the ticket's
};

}  // namespace cairn::llm
