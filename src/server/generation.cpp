#include "server/generation.hpp"

#include <fmt/format.h>

#include <chrono>
#include <random>
#include <utility>

#include "base/error.hpp"
#include "server/api_error.hpp"

namespace cairn::server {
namespace {

std::string new_id(const char* kind) {
  std::random_device random;
  return fmt::format("{}-{:08x}{:08x}{:08x}", kind, random(), random(), random());
}

int64_t now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string dumped(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

Generation::Generation(CompletionRequest request, Models::Lease model, Metrics& metrics,
                       std::shared_ptr<Reply> reply)
    : request_(std::move(request)),
      model_(std::move(model)),
      metrics_(metrics),
      reply_(std::move(reply)),
      id_(new_id(request_.chat ? "chatcmpl" : "cmpl")),
      created_(now()) {}

void Generation::start() {
  {
    const std::lock_guard lock(mutex_);  // callbacks wait until the stream has begun
    left_ = request_.prompts.size() * request_.n;
    results_.resize(left_);
    try {
      for (size_t index = 0; index < results_.size(); ++index) {
        llm::Request one;
        one.prompt = request_.prompts[index / request_.n];
        one.options = request_.options;
        // Of one seed all answers would be the same.
        if (one.options.sampler.seed) *one.options.sampler.seed += index % request_.n;
        one.token = [self = shared_from_this(), index](const llm::TokenEvent& event) {
          return self->piece(index, event.text);
        };
        one.finished = [self = shared_from_this(), index] { self->finished(index); };
        tickets_.push_back(model_->scheduler->submit(std::move(one)));
      }
    } catch (...) {
      over_ = true;
      cancel();
      tickets_.clear();
      throw;
    }
    if (request_.stream) {
      reply_->begin(200, "text/event-stream", {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}});
      for (size_t index = 0; index < results_.size() && request_.chat; ++index)
        send_choice({{"index", index}, {"delta", {{"role", "assistant"}, {"content", ""}}}});
    }
  }
  reply_->when_gone([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->client_left();
  });
}

bool Generation::piece(size_t index, std::string_view text) {
  const std::lock_guard lock(mutex_);
  if (over_) return false;
  if (!request_.stream || text.empty()) return true;
  if (request_.chat) {
    send_choice({{"index", index}, {"delta", {{"content", text}}}});
  } else {
    send_choice({{"index", index}, {"text", text}});
  }
  return true;
}

// On the scheduler's thread, when the ticket need not wait any more.
void Generation::finished(size_t index) {
  const std::lock_guard lock(mutex_);
  --left_;
  if (index < tickets_.size()) {  // else the submission of the others failed
    try {
      llm::Result result = tickets_[index].wait();
      metrics_.finished(model_->name, result);
      if (result.finish == llm::FinishReason::cancelled && !over_)
        cairn::fail(ErrorCode::cancelled, "the server is shutting down");
      if (!over_ && request_.stream) {
        Json choice = {{"index", index}};
        choice[request_.chat ? "delta" : "text"] = request_.chat ? Json::object() : Json("");
        choice["finish_reason"] = llm::name(result.finish);
        send_choice(std::move(choice));
      }
      results_[index] = std::move(result);
    } catch (const std::exception& error) {
      fail(error);
    }
  }
  if (left_ > 0) return;
  if (!std::exchange(over_, true)) request_.stream ? finish_stream() : answer_whole();
  tickets_.clear();  // which hold this
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
  metrics_.refused(request_.chat ? "/v1/chat/completions" : "/v1/completions", refusal.status());
  if (request_.stream) {
    send_event(refusal.json());
    reply_->end();
  } else {
    refusal.send(*reply_);
  }
  cancel();
}

Json Generation::frame() const {
  const char* kind =
      request_.chat ? (request_.stream ? "chat.completion.chunk" : "chat.completion") : "text_completion";
  return {{"id", id_}, {"object", kind}, {"created", created_}, {"model", model_->name}};
}

Json Generation::usage() const {
  uint64_t prompt = 0, cached = 0, written = 0;
  for (size_t i = 0; i < results_.size(); ++i) {
    if (!results_[i]) continue;
    const llm::Statistics& s = results_[i]->statistics;
    if (i % request_.n == 0) {
      prompt += s.prompt_tokens;
      cached += s.cached_tokens;
    }
    written += results_[i]->tokens.size();
  }
  return {{"prompt_tokens", prompt},
          {"completion_tokens", written},
          {"total_tokens", prompt + written},
          {"prompt_tokens_details", {{"cached_tokens", cached}}}};
}

void Generation::answer_whole() {
  Json answer = frame();
  answer["choices"] = Json::array();
  for (size_t index = 0; index < results_.size(); ++index) {
    llm::Result& result = *results_[index];
    Json choice = {{"index", index}};
    if (request_.chat) {
      choice["message"] = {{"role", "assistant"}, {"content", std::move(result.text)}, {"refusal", nullptr}};
    } else {
      choice["text"] = std::move(result.text);
    }
    choice["logprobs"] = nullptr;
    choice["finish_reason"] = llm::name(result.finish);
    answer["choices"].push_back(std::move(choice));
  }
  answer["usage"] = usage();
  reply_->send(200, "application/json", dumped(answer));
}

void Generation::finish_stream() {
  if (request_.include_usage) {
    Json last = frame();
    last["choices"] = Json::array();
    last["usage"] = usage();
    send_event(last);
  }
  reply_->write("data: [DONE]\n\n");
  reply_->end();
}

void Generation::send_choice(Json choice) {
  Json event = frame();
  choice["logprobs"] = nullptr;
  if (!choice.contains("finish_reason")) choice["finish_reason"] = nullptr;
  event["choices"].push_back(std::move(choice));
  if (request_.include_usage) event["usage"] = nullptr;
  send_event(event);
}

void Generation::send_event(const Json& event) {
  reply_->write("data: " + dumped(event) + "\n\n");
}

}  // namespace cairn::server
