// Paths that tell about models.
#include <limits>

#include "base/error.hpp"
#include "server/api_error.hpp"
#include "server/chat_prompt.hpp"
#include "server/completion_request.hpp"
#include "server/routes.hpp"

namespace cairn::server {
namespace {

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

// -1: as many as the context holds.
int64_t most_tokens(const llm::GenerateOptions& options) {
  return options.max_tokens == std::numeric_limits<uint32_t>::max() ? -1 : int64_t{options.max_tokens};
}

std::string template_source(const ServedModel& model) {
  try {
    return model.chat_template()->source();
  } catch (const Error&) {  // a model that does not chat
    return {};
  }
}

}  // namespace

void answer_health(const Call& call) {
  call.send({{"status", "ok"}});
}

void answer_models(const Call& call) {
  Json data = Json::array();
  for (const Models::Info& one : call.models.list()) data.push_back(described(one));
  call.send({{"object", "list"}, {"data", data}});
}

void answer_model(const Call& call) {
  const Json asked = {{"model", call.request.path.substr(std::string_view("/v1/models/").size())}};
  const std::string wanted = model_name(Fields(asked), call.models);
  for (const Models::Info& one : call.models.list()) {
    if (one.name == wanted) return call.send(described(one));
  }
}

// As llama.cpp's server has it; of the only model, or of the first that is loaded.
void answer_props(const Call& call) {
  for (const Models::Info& info : call.models.list()) {
    if (!info.model) continue;
    const ServedModel& model = *info.model;
    const llm::SamplerOptions& sampler = model.defaults.sampler;
    const Json params = {{"n_predict", most_tokens(model.defaults)},
                         {"seed", sampler.seed ? Json(*sampler.seed) : Json(nullptr)},
                         {"temperature", sampler.temperature},
                         {"top_k", sampler.top_k},
                         {"top_p", sampler.top_p},
                         {"min_p", sampler.min_p},
                         {"repeat_last_n", sampler.penalty_window},
                         {"repeat_penalty", sampler.repetition_penalty},
                         {"presence_penalty", sampler.presence_penalty},
                         {"frequency_penalty", sampler.frequency_penalty},
                         {"stop", model.defaults.stop},
                         {"ignore_eos", model.defaults.ignore_end}};
    return call.send({{"default_generation_settings", {{"n_ctx", info.context}, {"params", params}}},
                      {"total_slots", model.scheduler->options().sequences},
                      {"model_alias", info.name},
                      {"model_path", info.path},
                      {"chat_template", template_source(model)},
                      {"modalities", {{"vision", false}, {"audio", false}}},
                      {"n_ctx", info.context}});
  }
  throw ApiError(503, "no model is loaded", {}, "model_unavailable");
}

void answer_template(const Call& call) {
  call.send({{"prompt", chat_prompt(call.body, *call.model).text}});
}

void answer_memory(const Call& call) {
  if (call.request.method == "PUT") call.memory.set(call.body, call.models);
  call.send(call.memory.report(call.models));
}

void answer_metrics(const Call& call) {
  call.reply->send(200, "text/plain; version=0.0.4; charset=utf-8", call.metrics.text(call.models.list()));
}

void answer_tokenize(const Call& call) {
  const ServedModel& model = *call.model;
  const Fields fields(call.body);
  std::vector<llm::Token> tokens;
  const bool special = fields.flag("add_special"), specials = fields.flag("add_special_tokens");
  if (fields.find("messages")) {
    tokens = chat_prompt(call.body, model).tokens;
  } else {
    auto text = fields.text("prompt");         // vLLM's name
    if (!text) text = fields.text("content");  // llama.cpp's
    if (!text) fields.refuse("prompt", "it is missing: prompt, content or messages was expected");
    const bool added = fields.find("add_special_tokens") ? specials : special;
    tokens = model.tokenizer->encode(*text, {.add_bos = added, .add_eos = added, .parse_special = true});
  }
  call.send({{"tokens", tokens}, {"count", tokens.size()}, {"max_model_len", model.engine->context()}});
}

void answer_detokenize(const Call& call) {
  const ServedModel& model = *call.model;
  const Fields fields(call.body);
  const Json* array = fields.find("tokens");
  if (array == nullptr || !array->is_array()) fields.refuse("tokens", "an array of token ids was expected");
  const auto tokens = token_ids(*array, "tokens", model.tokenizer->vocabulary());
  const std::string text = model.tokenizer->decode(tokens, true);
  call.send({{"prompt", text}, {"content", text}});
}

}  // namespace cairn::server
