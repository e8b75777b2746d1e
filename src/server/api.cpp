#include "server/api.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <map>
#include <utility>

#include "base/error.hpp"
#include "server/api_error.hpp"
#include "server/completion_request.hpp"
#include "server/generation.hpp"
#include "server/page.hpp"

namespace cairn::server {
namespace {

void send_json(Reply& reply, const Json& json) {
  reply.send(200, "application/json", json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

// The methods of each, as Allow has them.
const std::map<std::string, std::string>& methods_of_paths() {
  static const std::map<std::string, std::string> all = {
      {"/health", "GET"},    {"/metrics", "GET"},         {"/memory", "GET, PUT"},
      {"/v1/models", "GET"}, {"/v1/completions", "POST"}, {"/v1/chat/completions", "POST"},
      {"/tokenize", "POST"}, {"/detokenize", "POST"}};
  return all;
}

bool takes(const std::string& methods, const std::string& method) {
  const std::string wanted = method == "HEAD" ? "GET" : method;
  return (", " + methods + ",").find(", " + wanted + ",") != std::string::npos;
}

Json described(const Models::Info& model) {
  Json status = {{"value", name(model.state)}};  // as llama.cpp's router tells it
  if (!model.error.empty()) status["error"] = model.error;
  return {{"id", model.name},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "cairn"},
          {"max_model_len", model.context == 0 ? Json(nullptr) : Json(model.context)},
          {"status", std::move(status)}};
}

std::vector<std::string> names_of(const std::vector<ModelSource>& models) {
  std::vector<std::string> names;
  for (const ModelSource& one : models) names.push_back(one.name);
  return names;
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

Api::Api(std::vector<ModelSource> models, ApiOptions options)
    : access_(std::move(options.access)),
      names_(names_of(models)),
      models_(std::move(models), std::move(options.models)),
      worker_(std::make_unique<Worker>()) {
  models_.when_loaded([this](ServedModel& model) { memory_.apply(model); });
}

Api::~Api() {
  worker_->thread.stop();
  worker_->thread.join();
}

void Api::handle(HttpRequest request, const std::shared_ptr<Reply>& reply) {
  try {
    const bool head = request.method == "HEAD";
    if (request.path == "/health" && (head || request.method == "GET"))
      return send_json(*reply, {{"status", "ok"}});
    access_.check_host(request);
    if (const PageFile* file = find_page_file(request.path); file && (head || request.method == "GET"))
      return server::send(*file, *reply);
    if (access_.check_origin(request, *reply)) return;
    access_.check_key(request);
    const bool one_model = request.path.starts_with("/v1/models/");
    const auto path = methods_of_paths().find(one_model ? "/v1/models" : request.path);
    if (path == methods_of_paths().end())
      throw ApiError(404, fmt::format("there is no {} here", request.path));
    if (!takes(path->second, request.method)) {
      reply->add_headers({{"Allow", path->second}});
      throw ApiError(405, fmt::format("{} takes {}, not {}", request.path, path->second, request.method));
    }
    if (request.method == "PUT") access_.check_control(request);
  } catch (const ApiError& error) {
    return refuse(methods_of_paths().contains(request.path) ? request.path : "other", error, *reply);
  }
  boost::asio::post(worker_->thread, [this, request = std::move(request), reply] {
    try {
      answer(request, reply);
    } catch (const std::exception& error) {
      refuse(request.path, error, *reply);
    }
  });
}

void Api::refuse(const std::string& path, const std::exception& error, Reply& reply) {
  const ApiError refusal = api_error(error);
  metrics_.refused(path, refusal.status());
  refusal.send(reply);
}

std::string Api::model_name(const Fields& fields) const {
  const auto name = fields.text("model");
  if (!name && names_.size() == 1) return names_.front();
  if (!name) fields.refuse("model", "it is missing, and several are served");
  if (std::find(names_.begin(), names_.end(), *name) != names_.end()) return *name;
  throw ApiError(404, fmt::format("there is no model '{}' here, only {}", *name, fmt::join(names_, ", ")),
                 "model", "model_not_found");
}

void Api::answer(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  if (request.path == "/metrics")
    return reply->send(200, "text/plain; version=0.0.4; charset=utf-8", metrics_.text(models_.list()));
  if (request.path == "/v1/models") {
    Json data = Json::array();
    for (const Models::Info& one : models_.list()) data.push_back(described(one));
    return send_json(*reply, {{"object", "list"}, {"data", data}});
  }
  if (request.path.starts_with("/v1/models/")) {
    const Json asked = {{"model", request.path.substr(std::string_view("/v1/models/").size())}};
    const std::string wanted = model_name(Fields(asked));
    for (const Models::Info& one : models_.list()) {
      if (one.name == wanted) return send_json(*reply, described(one));
    }
  }
  if (request.path == "/memory") {
    if (request.method == "PUT") memory_.set(parse_body(request.body), models_);
    return send_json(*reply, memory_.report(models_));
  }
  const auto body = std::make_shared<const Json>(parse_body(request.body));
  models_.use(model_name(Fields(*body)), [this, path = request.path, body, reply](
                                             Models::Lease model, const std::exception_ptr& error) {
    // On this thread if the model is there already.
    boost::asio::dispatch(worker_->thread, [this, path, body, reply, model = std::move(model), error] {
      try {
        if (error) std::rethrow_exception(error);
        respond(path, *body, model, reply);
      } catch (const std::exception& refused) {
        refuse(path, refused, *reply);
      }
    });
  });
}

void Api::respond(const std::string& path, const Json& body, Models::Lease model,
                  const std::shared_ptr<Reply>& reply) {
  if (path == "/tokenize") return send_json(*reply, tokenized(body, *model));
  if (path == "/detokenize") return send_json(*reply, detokenized(body, *model));
  CompletionRequest wanted =
      path == "/v1/completions" ? text_request(body, *model) : chat_request(body, *model);
  std::make_shared<Generation>(std::move(wanted), std::move(model), metrics_, reply)->start();
}

}  // namespace cairn::server
