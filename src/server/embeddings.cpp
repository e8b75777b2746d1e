#include "server/embeddings.hpp"

#include <fmt/format.h>

#include <utility>

#include "base/base64.hpp"
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
                   fmt::format("{} asks for another pooling of its states than by mean, first or last token: "
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

Embeddings::Embeddings(const Call& call, EmbeddingRequest request)
    : Work(call),
      later_(call.later),
      request_(std::move(request)),
      pools_(request_.inputs.size(),
             llm::Pool(request_.pooling, model_->engine->model().parameters.embedding)) {}

void Embeddings::begin() {
  while (submitted_ < std::min(kAtATime, request_.inputs.size())) submit_next();
}

void Embeddings::submit_next() {
  const auto self = std::static_pointer_cast<Embeddings>(shared_from_this());
  const size_t index = submitted_++;
  llm::Request one;
  one.prompt = request_.inputs[index];
  one.admitted = index > 0;  // the whole request is, or is not, with its first text
  one.options.max_tokens = 0;
  one.options.prompt_states = [self, index](size_t first, std::span<const float> states) {
    self->pools_[index].add(first, states);  // which nobody else looks at before the end
  };
  submit(std::move(one));
}

void Embeddings::finished(size_t, const llm::Result&) {
  if (submitted_ < request_.inputs.size()) submit_next();
}

// Thousands of numbers as text would hold the scheduler up.
void Embeddings::end() {
  later_([self = std::static_pointer_cast<Embeddings>(shared_from_this())] {
    try {
      self->send();
    } catch (const std::exception& error) {
      self->tell(api_error(error));
    }
  });
}

void Embeddings::send() const {
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
  const Json answer = {{"object", "list"},
                       {"data", std::move(data)},
                       {"model", model_->name},
                       {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}};
  reply_->send(200, "application/json", dumped(answer));
}

void answer_embeddings(const Call& call) {
  std::make_shared<Embeddings>(call, embedding_request(call.body, *call.model))->start();
}

}  // namespace cairn::server
