#include "server/routes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "server/api_error.hpp"
#include "server/encoder.hpp"
#include "server/generation.hpp"
#include "server/messages_request.hpp"
#include "server/openai_encoders.hpp"
#include "server/responses_request.hpp"

namespace cairn::server {

const Routes& routes() {
  static const Routes all = {
      {"/health", {"GET", answer_health}},
      {"/metrics", {"GET", answer_metrics}},
      {"/memory", {"GET, PUT", answer_memory}},
      {"/v1/models", {"GET", answer_models}},
      {"/v1/models/", {"GET", answer_model}},
      {"/v1/completions", {"POST", answer_text}},
      {"/v1/chat/completions", {"POST", answer_chat}},
      {"/v1/embeddings", {"POST", answer_embeddings}},
      {"/v1/messages", {"POST", answer_messages}},
      {"/v1/messages/count_tokens", {"POST", answer_count_tokens}},
      {"/v1/responses", {"POST", answer_responses}},
      {"/v1/responses/input_tokens", {"POST", answer_input_tokens}},
      {"/openapi.json", {"GET", answer_openapi}},
      {"/props", {"GET", answer_props}},
      {"/apply-template", {"POST", answer_template}},
      {"/tokenize", {"POST", answer_tokenize}},
      {"/detokenize", {"POST", answer_detokenize}},
  };
  return all;
}

Routes::const_iterator find_route(std::string_view path) {
  if (const auto exact = routes().find(path); exact != routes().end()) return exact;
  return std::find_if(routes().begin(), routes().end(), [&](const auto& route) {
    return route.first.ends_with('/') && path.starts_with(route.first);
  });
}

bool takes(const Route& route, const std::string& method) {
  const std::string wanted = fmt::format(", {},", method == "HEAD" ? "GET" : method);
  return fmt::format(", {},", route.methods).find(wanted) != std::string::npos;
}

std::string model_name(const Fields& fields, const Models& models) {
  const auto name = fields.text("model");
  std::vector<std::string> names;
  for (const Models::Info& one : models.list()) names.push_back(one.name);
  if (!name && names.size() == 1) return names.front();
  if (!name) fields.refuse("model", "it is missing, and several are served");
  if (std::find(names.begin(), names.end(), *name) != names.end()) return *name;
  throw ApiError(404, fmt::format("there is no model '{}' here, only {}", *name, fmt::join(names, ", ")),
                 "model", "model_not_found");
}

void Call::send(const Json& json) const {
  reply->send(200, "application/json", dumped(json));
}

namespace {

// The model that is to write something.
const ServedModel& writer(const Call& call) {
  const ServedModel& model = *call.model;
  const graph::HyperParameters& parameters = model.engine->model().parameters;
  if (parameters.causal) return model;
  throw ApiError(400,
                 fmt::format("{} makes embeddings, no text: architecture '{}' has no head", model.name,
                             parameters.architecture),
                 "model");
}

void generate(const Call& call, CompletionRequest request, std::unique_ptr<Encoder> encoder) {
  std::make_shared<Generation>(call, std::move(request), std::move(encoder))->start();
}

}  // namespace

void answer_chat(const Call& call) {
  const ServedModel& model = writer(call);
  CompletionRequest request = chat_request(call.body, model);
  auto encoder = make_chat_encoder(request, model);
  generate(call, std::move(request), std::move(encoder));
}

void answer_text(const Call& call) {
  const ServedModel& model = writer(call);
  CompletionRequest request = text_request(call.body, model);
  auto encoder = make_text_encoder(request, model);
  generate(call, std::move(request), std::move(encoder));
}

void answer_messages(const Call& call) {
  const ServedModel& model = writer(call);
  CompletionRequest request = chat_request(chat_of_messages(call.body), model);
  auto encoder = make_messages_encoder(request, model);
  generate(call, std::move(request), std::move(encoder));
}

void answer_count_tokens(const Call& call) {
  const Json chat = chat_of_messages(call.body);
  call.send({{"input_tokens", chat_prompt(chat, *call.model).tokens.size()}});
}

void answer_responses(const Call& call) {
  const ServedModel& model = writer(call);
  CompletionRequest request = chat_request(chat_of_responses(call.body), model);
  auto encoder = make_responses_encoder(request, model, call.body);
  generate(call, std::move(request), std::move(encoder));
}

void answer_input_tokens(const Call& call) {
  const Json chat = chat_of_responses(call.body);
  const size_t tokens = chat_prompt(chat, *call.model).tokens.size();
  call.send({{"object", "response.input_tokens"}, {"input_tokens", tokens}});
}

}  // namespace cairn::server
