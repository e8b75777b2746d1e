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

namespace cairn::server {

const Routes& routes() {
  static const Routes all = {
      {"/health", {"GET", answer_health}},
      {"/metrics", {"GET", answer_metrics}},
      {"/v1/models", {"GET", answer_models}},
      {"/v1/models/", {"GET", answer_model}},
      {"/v1/completions", {"POST", answer_text}},
      {"/v1/chat/completions", {"POST", answer_chat}},
      {"/v1/messages", {"POST", answer_messages}},
      {"/v1/messages/count_tokens", {"POST", answer_count_tokens}},
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

ServedModel& Call::model(const Fields& fields) const {
  const auto name = fields.text("model");
  if (!name && models.size() == 1) return models.front();
  if (!name) fields.refuse("model", "it is missing, and several are served");
  for (ServedModel& one : models) {
    if (one.name == *name) return one;
  }
  std::vector<std::string> names;
  for (const ServedModel& one : models) names.push_back(one.name);
  throw ApiError(404, fmt::format("there is no model '{}' here, only {}", *name, fmt::join(names, ", ")),
                 "model", "model_not_found");
}

void Call::send(const Json& json) const {
  reply->send(200, "application/json", dumped(json));
}

namespace {

using MakeEncoder = std::unique_ptr<Encoder> (*)(const CompletionRequest& request, const ServedModel& model);

void generate(const Call& call, ServedModel& model, CompletionRequest request, MakeEncoder make) {
  request.path = call.request.path;
  auto encoder = make(request, model);
  std::make_shared<Generation>(std::move(request), std::move(encoder), model, call.metrics, call.reply)
      ->start();
}

}  // namespace

void answer_chat(const Call& call) {
  ServedModel& model = call.model();
  generate(call, model, chat_request(call.body, model), make_chat_encoder);
}

void answer_text(const Call& call) {
  ServedModel& model = call.model();
  generate(call, model, text_request(call.body, model), make_text_encoder);
}

void answer_messages(const Call& call) {
  ServedModel& model = call.model();
  generate(call, model, chat_request(chat_of_messages(call.body), model), make_messages_encoder);
}

void answer_count_tokens(const Call& call) {
  const ServedModel& model = call.model();
  const Json chat = chat_of_messages(call.body);
  call.send({{"input_tokens", chat_prompt(chat, model).tokens.size()}});
}

}  // namespace cairn::server
