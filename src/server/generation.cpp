#include "server/generation.hpp"

#include <limits>
#include <utility>

namespace cairn::server {

Generation::Generation(const Call& call, CompletionRequest request, std::unique_ptr<Encoder> encoder)
    : Work(call), request_(std::move(request)), encoder_(std::move(encoder)) {}

void Generation::begin() {
  const size_t answers = request_.prompts.size() * request_.n;
  for (size_t index = 0; index < answers; ++index) writing_.emplace_back(request_.format);
  for (size_t index = 0; index < answers; ++index) submit(asked(index));
}

void Generation::begun() {
  if (!request_.stream) return;
  reply_->begin(200, "text/event-stream", {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}});
  write(encoder_->begin());
}

llm::Request Generation::asked(size_t index) {
  const auto self = std::static_pointer_cast<Generation>(shared_from_this());
  llm::Request one;
  one.prompt = request_.prompts[index / request_.n];
  one.options = request_.options;
  // Of one seed all answers would be the same.
  if (one.options.sampler.seed) *one.options.sampler.seed += index % request_.n;
  if (request_.echo && one.options.logprobs) {
    one.options.prompt_logprobs = [self, index](size_t first, const auto& logprobs) {
      const std::lock_guard lock(self->mutex_);
      auto& known = self->writing_[index].prompt;
      known.resize(first - 1);  // it may have been begun anew
      known.insert(known.end(), logprobs.begin(), logprobs.end());
    };
  }
  one.token = [self, index](const llm::TokenEvent& event) { return self->take(index, event); };
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
  if (prompt.front() == model_->tokenizer->bos()) prompt = prompt.subspan(1);  // which nobody wrote
  if (!prompt.empty()) send(index, {{Piece::Kind::text, model_->tokenizer->decode(prompt, true)}});
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

void Generation::count(const llm::Result& result) {
  metrics_.finished(model_->name, result);
}

void Generation::finished(size_t index, const llm::Result& result) {
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

void Generation::end() {
  std::vector<Answer> answers;
  for (Writing& writing : writing_) answers.push_back(std::move(writing.answer));
  if (!request_.stream)
    return reply_->send(200, "application/json", dumped(encoder_->whole(answers, usage_)));
  write(encoder_->end(answers, usage_));
  reply_->end();
}

void Generation::tell(const ApiError& error) {
  if (!request_.stream) return Work::tell(error);
  write(encoder_->failed(error));
  reply_->end();
}

}  // namespace cairn::server
