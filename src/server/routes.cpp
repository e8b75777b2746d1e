#include "server/routes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "server/api_error.hpp"
#include "server/encoder.hpp"
#include "server/generation.hpp"
#include "server/openai_encoders.hpp"

namespace cairn::server {

const Routes& routes() {
  static const Routes all = {
      {"/health", {"GET", answer_health}},        {"/metrics", {"GET", answer_metrics}},
      {"/v1/models", {"GET", answer_models}},     {"/v1/models/", {"GET", answer_model}},
      {"/v1/completions", {"POST", answer_text}}, {"/v1/chat/completions", {"POST", answer_chat}},
      {"/tokenize", {"POST", answer_tokenize}},   {"/detokenize", {"POST", answer_detokenize}},
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

void answer_chat(const Call& call) {
  ServedModel& model = call.model();
  CompletionRequest request = chat_request(call.body, model);
  auto encoder = make_chat_encoder(request, model);
  std::make_shared<Generation>(std::move(request), std::move(encoder), model, call.metrics, call.reply)
      ->start();
}

void answer_text(const Call& call) {
  ServedModel& model = call.model();
  CompletionRequest request = text_request(call.body, model);
  auto encoder = make_text_encoder(request, model);
  std::make_shared<Generation>(std::move(request), std::move(encoder), model, call.metrics, call.reply)
      ->start();
}

}  // namespace cairn::server
