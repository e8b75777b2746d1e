#include "server/embeddings.hpp"

#include <fmt/format.h>

#include <utility>

#include "base/base64.hpp"
#include "base/error.hpp"
#include "server/api_error.hpp"
#include "server/completion_request.hpp"
#include "server/encoder.hpp"
#include "server/routes.hpp"

namespace cairn::server {
namespace {

constexpr size_t kMostInputs = 2048;  // OpenAI's
constexpr size_t kAtATime = 8;        // more would take the queue from others

}  // namespace

EmbeddingRequest embedding_request(const Json& body, const ServedModel& model) {
  const Fields fields(body);
  EmbeddingRequest request;
  if (!model.pooling) {
    throw ApiError(400,
                   fmt::format("{} does not say by mean or last token how its states become one vector: "
                               "`cairn serve --pooling` does",
                               model.name),
                   "model");
  }
  request.pooling = *model.pooling;
  const std::string format = fields.text("encoding_format").value_or("float");
  if (format != "float" && format != "base64")
    fields.refuse("encoding_format", fmt::format("'{}' is neither float nor base64", format));
  request.as_base64 = format == "base64";
  const auto width = static_cast<int64_t>(model.engine->model().parameters.embedding);
  request.dimensions = static_cast<size_t>(fields.integer("dimensions", 1, width).value_or(width));
  request.inputs = read_prompts(fields, "input", model, {.parse_special = true});
  if (request.inputs.size() > kMostInputs)
    fields.refuse("input", fmt::format("at most {} texts", kMostInputs));
  for (const auto& input : request.inputs) {
    if (input.empty()) fields.refuse("input", "an empty text has no embedding");
  }
  return request;
}

Embeddings::Embeddings(EmbeddingRequest request, ServedModel& model, Metrics& metrics,
                       std::shared_ptr<Reply> reply)
    : request_(std::move(request)),
      model_(model),
      held_(model.hold ? model.hold() : nullptr),
      metrics_(metrics),
      reply_(std::move(reply)),
      pools_(request_.inputs.size(), llm::Pool(request_.pooling, model.engine->model().parameters.embedding)) {}

void Embeddings::start() {
  {
    const std::lock_guard lock(mutex_);  // callbacks wait
    try {
      while (tickets_.size() < std::min(kAtATime, request_.inputs.size())) submit();
    } catch (...) {
      over_ = true;
      cancel();
      tickets_.clear();
      throw;
    }
  }
  reply_->when_gone([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->client_left();
  });
}

// The next input.
void Embeddings::submit() {
  const size_t index = tickets_.size();
  llm::Request one;
  one.prompt = request_.inputs[index];
  one.options.max_tokens = 0;
  one.options.prompt_states = [self = shared_from_this(), index](size_t first,
                                                                 std::span<const float> states) {
    self->pools_[index].add(first, states);  // which nobody else looks at before all are finished
  };
  one.finished = [self = shared_from_this(), index] { self->finished(index); };
  tickets_.push_back(model_.scheduler->submit(std::move(one)));
  ++left_;
}

// On the scheduler's thread, when the ticket need not wait any more.
void Embeddings::finished(size_t index) {
  const std::lock_guard lock(mutex_);
  if (index >= tickets_.size()) return;  // the submission of the others failed
  --left_;
  try {
    const llm::Result result = tickets_[index].wait();
    if (result.finish == llm::FinishReason::cancelled && !over_)
      cairn::fail(ErrorCode::cancelled, "the server is shutting down");
    if (!over_ && tickets_.size() < request_.inputs.size()) submit();
  } catch (const std::exception& error) {
    fail(error);
  }
  if (left_ > 0) return;
  if (!std::exchange(over_, true)) reply_->send(200, "application/json", dumped(answer()));
  tickets_.clear();  // which hold this
}

void Embeddings::cancel() {
  for (auto& ticket : tickets_) ticket.cancel();
}

void Embeddings::client_left() {
  const std::lock_guard lock(mutex_);
  if (std::exchange(over_, true)) return;
  metrics_.gone();
  cancel();
}

void Embeddings::fail(const std::exception& error) {
  if (std::exchange(over_, true)) return;
  const ApiError refusal = api_error(error);
  metrics_.refused("/v1/embeddings", refusal.status());
  refusal.send(*reply_, ErrorForm::openai);
  cancel();
}

Json Embeddings::answer() const {
  Json data = Json::array();
  size_t tokens = 0;
  for (size_t index = 0; index < pools_.size(); ++index) {
    const std::vector<float> vector = pools_[index].result(request_.dimensions);
    data.push_back(
        {{"object", "embedding"},
         {"index", index},
         {"embedding", request_.as_base64 ? Json(base64(std::as_bytes(std::span(vector)))) : Json(vector)}});
    tokens += request_.inputs[index].size();
  }
  return {{"object", "list"},
          {"data", std::move(data)},
          {"model", model_.name},
          {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}};
}

void answer_embeddings(const Call& call) {
  ServedModel& model = call.model();
  std::make_shared<Embeddings>(embedding_request(call.body, model), model, call.metrics, call.reply)->start();
}

}  // namespace cairn::server
