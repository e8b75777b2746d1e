#include "server/api.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <map>
#include <utility>

#include "base/error.hpp"
#include "server/api_error.hpp"
#include "server/completion_request.hpp"
#include "server/generation.hpp"

namespace cairn::server {
namespace {

// Takes as long wherever the two differ.
bool equal_secret(std::string_view given, std::string_view key) {
  unsigned different = given.size() == key.size() ? 0 : 1;
  for (size_t i = 0; i < given.size(); ++i)
    different |= static_cast<unsigned>(given[i] ^ (key.empty() ? 0 : key[i % key.size()]));
  return different == 0;
}

void send_json(Reply& reply, const Json& json) {
  reply.send(200, "application/json", json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

const std::map<std::string, std::string>& methods_of_paths() {
  static const std::map<std::string, std::string> all = {{"/health", "GET"},
                                                         {"/metrics", "GET"},
                                                         {"/v1/models", "GET"},
                                                         {"/v1/completions", "POST"},
                                                         {"/v1/chat/completions", "POST"},
                                                         {"/tokenize", "POST"},
                                                         {"/detokenize", "POST"}};
  return all;
}

Json described(const ServedModel& model) {
  return {{"id", model.name},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "cairn"},
          {"max_model_len", model.engine->context()}};
}

Json tokenized(const Json& body, const ServedModel& model) {
  const Fields fields(body);
  std::vector<llm::Token> tokens;
  if (fields.find("messages")) {
    tokens = chat_prompt(body, model);
  } else {
    auto text = fields.text("prompt");         // vLLM's name
    if (!text) text = fields.text("content");  // llama.cpp's
    if (!text) fields.refuse("prompt", "it is missing: prompt, content or messages was expected");
    const bool special =
        fields.find("add_special_tokens") ? fields.flag("add_special_tokens") : fields.flag("add_special");
    tokens = model.tokenizer->encode(*text, {.add_bos = special, .add_eos = special, .parse_special = true});
  }
  return {{"tokens", tokens}, {"count", tokens.size()}, {"max_model_len", model.engine->context()}};
}

Json detokenized(const Json& body, const ServedModel& model) {
  const Fields fields(body);
  const Json* array = fields.find("tokens");
  if (array == nullptr || !array->is_array()) fields.refuse("tokens", "an array of token ids was expected");
  const auto tokens = token_ids(*array, "tokens", model.tokenizer->vocabulary());
  const std::string text = model.tokenizer->decode(tokens, true);
  return {{"prompt", text}, {"content", text}};
}

}  // namespace

struct Api::Worker {
  boost::asio::thread_pool thread{1};
};

Api::Api(std::deque<ServedModel> models, ApiOptions options)
    : options_(std::move(options)), models_(std::move(models)), worker_(std::make_unique<Worker>()) {}

Api::~Api() {
  worker_->thread.stop();
  worker_->thread.join();
}

bool Api::allowed(const HttpRequest& request) const {
  if (options_.keys.empty()) return true;
  std::string_view given = request.authorization;
  if (given.size() > 7 && (given.starts_with("Bearer ") || given.starts_with("bearer ")))
    given.remove_prefix(7);
  if (given.empty()) given = request.api_key;
  bool right = false;
  for (const std::string& key : options_.keys) right = equal_secret(given, key) || right;
  return right;
}

void Api::handle(HttpRequest request, const std::shared_ptr<Reply>& reply) {
  try {
    const bool head = request.method == "HEAD";
    if (request.path == "/health" && (head || request.method == "GET"))
      return send_json(*reply, {{"status", "ok"}});
    // A web page sends its origin; without a word for it no page of any site reaches a local model.
    if (!request.origin.empty()) {
      const auto has = [&](const std::string& one) {
        return std::find(options_.origins.begin(), options_.origins.end(), one) != options_.origins.end();
      };
      const bool all = has("*");
      if (!all && !has(request.origin))
        throw ApiError(
            403, fmt::format("pages of {} may not ask: --cors {} allows it", request.origin, request.origin));
      reply->add_headers({{"Access-Control-Allow-Origin", all ? "*" : request.origin}, {"Vary", "Origin"}});
      if (request.method == "OPTIONS") {
        return reply->send(204, "", "",
                           {{"Access-Control-Allow-Methods", "GET, POST, OPTIONS"},
                            {"Access-Control-Allow-Headers", "Authorization, Content-Type, X-Api-Key, *"},
                            {"Access-Control-Max-Age", "86400"}});
      }
    }
    if (!allowed(request))
      throw ApiError(401, "a key is needed: Authorization: Bearer KEY", {}, "invalid_api_key");
    const bool one_model = request.path.starts_with("/v1/models/");
    const auto path = methods_of_paths().find(one_model ? "/v1/models" : request.path);
    if (path == methods_of_paths().end())
      throw ApiError(404, fmt::format("there is no {} here", request.path));
    if (request.method != path->second && !(head && path->second == "GET")) {
      reply->add_headers({{"Allow", path->second}});
      throw ApiError(405, fmt::format("{} takes {}, not {}", request.path, path->second, request.method));
    }
  } catch (const ApiError& error) {
    metrics_.refused(methods_of_paths().contains(request.path) ? request.path : "other", error.status());
    return error.send(*reply);
  }
  boost::asio::post(worker_->thread, [this, request = std::move(request), reply] {
    try {
      answer(request, reply);
    } catch (const std::exception& error) {
      const ApiError refusal = api_error(error);
      metrics_.refused(request.path, refusal.status());
      refusal.send(*reply);
    }
  });
}

ServedModel& Api::model(const Fields& fields) {
  const auto name = fields.text("model");
  if (!name && models_.size() == 1) return models_.front();
  if (!name) fields.refuse("model", "it is missing, and several are served");
  for (ServedModel& one : models_) {
    if (one.name == *name) return one;
  }
  std::vector<std::string> names;
  for (const ServedModel& one : models_) names.push_back(one.name);
  throw ApiError(404, fmt::format("there is no model '{}' here, only {}", *name, fmt::join(names, ", ")),
                 "model", "model_not_found");
}

void Api::answer(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  if (request.path == "/metrics")
    return reply->send(200, "text/plain; version=0.0.4; charset=utf-8", metrics_.text(models_));
  if (request.path == "/v1/models") {
    Json data = Json::array();
    for (const ServedModel& one : models_) data.push_back(described(one));
    return send_json(*reply, {{"object", "list"}, {"data", data}});
  }
  if (request.path.starts_with("/v1/models/")) {
    const Json name = {{"model", request.path.substr(std::string_view("/v1/models/").size())}};
    return send_json(*reply, described(model(Fields(name))));
  }
  const Json body = parse_body(request.body);
  ServedModel& served = model(Fields(body));
  if (request.path == "/tokenize") return send_json(*reply, tokenized(body, served));
  if (request.path == "/detokenize") return send_json(*reply, detokenized(body, served));
  CompletionRequest wanted =
      request.path == "/v1/completions" ? text_request(body, served) : chat_request(body, served);
  std::make_shared<Generation>(std::move(wanted), served, metrics_, reply)->start();
}

}  // namespace cairn::server
