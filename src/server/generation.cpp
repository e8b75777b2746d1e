#include "server/generation.hpp"

#include <fmt/format.h>

#include <limits>
#include <utility>

#include "base/error.hpp"
#include "server/api_error.hpp"

namespace cairn::server {

Generation::Generation(CompletionRequest request, std::unique_ptr<Encoder> encoder, ServedModel& model,
                       Metrics& metrics, std::shared_ptr<Reply> reply)
    : request_(std::move(request)),
      model_(model),
      held_(model.hold ? model.hold() : nullptr),
      deadline_(model.answer_time.count() > 0 ? std::chrono::steady_clock::now() + model.answer_time
                                              : std::chrono::steady_clock::time_point::max()),
      metrics_(metrics),
      reply_(std::move(reply)),
      encoder_(std::move(encoder)) {}

void Generation::start() {
  {
    const std::lock_guard lock(mutex_);  // callbacks wait until the stream has begun
    left_ = request_.prompts.size() * request_.n;
    for (size_t index = 0; index < left_; ++index) writing_.emplace_back(request_.format);
    try {
      for (size_t index = 0; index < writing_.size(); ++index)
        tickets_.push_back(model_.scheduler->submit(asked(index)));
    } catch (...) {
      over_ = true;
      cancel();
      tickets_.clear();
      throw;
    }
    if (request_.stream) {
      reply_->begin(200, "text/event-stream", {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}});
      write(encoder_->begin());
    }
  }
  reply_->when_gone([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->client_left();
  });
}

llm::Request Generation::asked(size_t index) {
  llm::Request one;
  one.prompt = request_.prompts[index / request_.n];
  one.options = request_.options;
  if (model_.answer_time.count() > 0)
    one.options.cancelled = [self = shared_from_this()] { return self->late(); };
  // Of one seed all answers would be the same.
  if (one.options.sampler.seed) *one.options.sampler.seed += index % request_.n;
  if (request_.echo && one.options.logprobs) {
    one.options.prompt_logprobs = [self = shared_from_this(), index](size_t first, const auto& logprobs) {
      const std::lock_guard lock(self->mutex_);
      auto& known = self->writing_[index].prompt;
      known.resize(first - 1);  // it may have been begun anew
      known.insert(known.end(), logprobs.begin(), logprobs.end());
    };
  }
  one.token = [self = shared_from_this(), index](const llm::TokenEvent& event) {
    return self->take(index, event);
  };
  one.finished = [self = shared_from_this(), index] { self->finished(index); };
  return one;
}

bool Generation::take(size_t index, const llm::TokenEvent& event) {
  const std::lock_guard lock(mutex_);
  if (over_) return false;
  echo(index);
  Writing& writing = writing_[index];
  const auto pieces = writing.parser.push(event.text);
  Answer& answer = writing.answer;
  // The tokens of a mark between reasoning and text are the former's.
  const bool turns = !answer.reasoning.empty() && answer.text.empty() && answer.calls.empty() &&
                     !pieces.empty() && pieces.back().kind != Piece::Kind::reasoning;
  if (turns && answer.reasoned < answer.logprobs.size()) send(index, {{Piece::Kind::reasoning, ""}});
  if (event.logprobs != nullptr) answer.logprobs.push_back(*event.logprobs);
  if (event.token >= 0 && writing.parser.in_reasoning()) ++usage_.reasoning;
  send(index, pieces);
  return true;
}

// The prompt as the answer's beginning.
void Generation::echo(size_t index) {
  Writing& writing = writing_[index];
  if (!request_.echo || std::exchange(writing.echoed, true)) return;
  std::span<const llm::Token> prompt = request_.prompts[index / request_.n];
  if (prompt.empty()) return;
  if (request_.options.logprobs) {
    auto& logprobs = writing.answer.logprobs;
    logprobs.push_back({prompt.front(), std::numeric_limits<float>::quiet_NaN(), {}});
    logprobs.insert(logprobs.end(), writing.prompt.begin(), writing.prompt.end());
  }
  if (prompt.front() == model_.tokenizer->bos()) prompt = prompt.subspan(1);  // which nobody wrote
  if (!prompt.empty()) send(index, {{Piece::Kind::text, model_.tokenizer->decode(prompt, true)}});
}

void Generation::send(size_t index, const std::vector<Piece>& pieces) {
  Writing& writing = writing_[index];
  for (const Piece& piece : pieces) {
    writing.answer.add(piece);
    if (piece.kind == Piece::Kind::reasoning) writing.answer.reasoned = writing.answer.logprobs.size();
    if (request_.stream) write(encoder_->piece(index, piece, unsent(writing)));
  }
}

void Generation::write(const std::string& events) {
  if (!events.empty()) reply_->write(events);
}

std::span<const llm::TokenLogprobs> Generation::unsent(Writing& writing) const {
  const auto all = std::span<const llm::TokenLogprobs>(writing.answer.logprobs);
  return all.subspan(std::exchange(writing.sent, all.size()));
}

// On the scheduler's thread, when the ticket need not wait any more.
void Generation::finished(size_t index) {
  const std::lock_guard lock(mutex_);
  --left_;
  if (index < tickets_.size()) {  // else the submission of the others failed
    try {
      const llm::Result result = tickets_[index].wait();
      metrics_.finished(model_.name, result);
      if (result.finish == llm::FinishReason::cancelled && !over_ && late()) {
        throw ApiError(504,
                       fmt::format("the answer was not whole after {} seconds (--request-timeout)",
                                   model_.answer_time.count()),
                       {}, "timeout");
      }
      if (result.finish == llm::FinishReason::cancelled && !over_)
        cairn::fail(ErrorCode::cancelled, "the server is shutting down");
      if (!over_) finish(index, result);
    } catch (const std::exception& error) {
      fail(error);
    }
  }
  if (left_ > 0) return;
  if (!std::exchange(over_, true)) {
    std::vector<Answer> answers;
    for (Writing& writing : writing_) answers.push_back(std::move(writing.answer));
    if (request_.stream) {
      write(encoder_->end(answers, usage_));
      reply_->end();
    } else {
      reply_->send(200, "application/json", dumped(encoder_->whole(answers, usage_)));
    }
  }
  tickets_.clear();  // which hold this
}

void Generation::finish(size_t index, const llm::Result& result) {
  Writing& writing = writing_[index];
  echo(index);
  send(index, writing.parser.finish());
  writing.answer.finish = result.finish;
  writing.answer.stop = result.stop;
  usage_.written += result.tokens.size();
  if (index % request_.n == 0) {
    usage_.prompt += result.statistics.prompt_tokens;
    usage_.cached += result.statistics.cached_tokens;
  }
  if (request_.stream) write(encoder_->finished(index, writing.answer, unsent(writing)));
}

void Generation::cancel() {
  for (auto& ticket : tickets_) ticket.cancel();
}

void Generation::client_left() {
  const std::lock_guard lock(mutex_);
  if (std::exchange(over_, true)) return;
  metrics_.gone();
  cancel();
}

void Generation::fail(const std::exception& error) {
  if (std::exchange(over_, true)) return;
  const ApiError refusal = api_error(error);
  const auto* known = dynamic_cast<const Error*>(&error);
  if (known != nullptr && known->code() == ErrorCode::io) model_.broken = true;
  metrics_.refused(request_.path, refusal.status());
  if (request_.stream) {
    write(encoder_->failed(refusal));
    reply_->end();
  } else {
    refusal.send(*reply_, error_form(request_.path));
  }
  cancel();
}

}  // namespace cairn::server
