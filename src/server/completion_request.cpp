#include "server/completion_request.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "server/api_error.hpp"
#include "server/sampling_fields.hpp"
#include "server/tools.hpp"

namespace cairn::server {
namespace {

constexpr uint32_t kMostAnswers = 128, kMostLogprobs = 20;  // OpenAI's n and top_logprobs
constexpr uint32_t kTextTokens = 16;                        // OpenAI's default of /v1/completions

// What is known and not there: an answer without it would be another than was asked for.
void refuse_missing(const Fields& fields) {
  const auto is_off = [](const Json& value) {
    return (value.is_boolean() && !value.get<bool>()) || (value.is_array() && value.empty());
  };
  for (const char* name : {"suffix", "functions", "audio", "prompt_logprobs"}) {
    const Json* value = fields.find(name);
    if (value != nullptr && !is_off(*value)) fields.refuse(name, "this server cannot do that yet");
  }
}

void read_common(const Fields& fields, const ServedModel& model, CompletionRequest& request) {
  request.options = model.defaults;
  refuse_missing(fields);
  read_sampling(fields, *model.tokenizer, request.options);
  read_stop(fields, "stop", request.options);
  for (const char* name : {"max_tokens", "max_completion_tokens"})  // the newer name counts
    read_most_tokens(fields, name, request.options);
  request.n = static_cast<uint32_t>(fields.integer("n", 1, kMostAnswers).value_or(1));
  const auto best = fields.integer("best_of", 1, kMostAnswers);
  if (best && *best != request.n)
    fields.refuse("best_of", "this server gives all answers: best_of must be n");
  request.stream = fields.flag("stream");
  if (const Json* options = fields.find("stream_options")) {
    if (!options->is_object()) fields.refuse("stream_options", "an object was expected");
    if (!request.stream) fields.refuse("stream_options", "only where stream is true");
    request.include_usage = Fields(*options, "stream_options.").flag("include_usage");
  }
}

}  // namespace

void check_lengths(const Prompts& prompts, const ServedModel& model, const char* param) {
  const uint32_t context = model.engine->context();
  for (const auto& prompt : prompts) {
    if (prompt.size() <= context) continue;
    throw ApiError(400, fmt::format("the prompt has {} tokens, the context holds {}", prompt.size(), context),
                   param, "context_length_exceeded");
  }
}

Prompts read_prompts(const Fields& fields, const char* name, const ServedModel& model,
                     const text::EncodeOptions& options) {
  const Json* given = fields.find(name);
  if (given == nullptr) fields.refuse(name, "it is missing");
  const bool ids = given->is_array() && !given->empty() && given->front().is_number();
  Prompts prompts;
  for (const Json& one : given->is_array() && !ids ? *given : Json::array({*given})) {
    if (one.is_string()) {
      prompts.push_back(model.tokenizer->encode(one.get_ref<const std::string&>(), options));
    } else if (one.is_array()) {
      prompts.push_back(token_ids(one, name, model.tokenizer->vocabulary()));
    } else {
      fields.refuse(name, "a string, an array of token ids, or an array of those was expected");
    }
  }
  if (prompts.empty()) fields.refuse(name, "it is empty");
  check_lengths(prompts, model, name);
  return prompts;
}

std::vector<llm::Token> token_ids(const Json& array, const std::string& field, size_t vocabulary) {
  std::vector<llm::Token> tokens;
  for (const Json& one : array) {
    const bool known = one.is_number_unsigned() && one.get<uint64_t>() < vocabulary;
    if (!known) {
      throw ApiError(
          400,
          fmt::format("{}: {} is no token of this model's vocabulary of {}; ids of another tokenizer (such "
                      "as tiktoken) mean nothing here: send text",
                      field, one.dump(-1, ' ', false, Json::error_handler_t::replace), vocabulary),
          field);
    }
    tokens.push_back(one.get<llm::Token>());
  }
  return tokens;
}

CompletionRequest chat_request(const Json& body, const ServedModel& model) {
  CompletionRequest request;
  const Fields fields(body);
  read_common(fields, model, request);
  if (fields.flag("logprobs")) request.options.logprobs = 0;
  if (const auto top = fields.integer("top_logprobs", 0, kMostLogprobs)) {
    if (!request.options.logprobs && *top > 0) fields.refuse("top_logprobs", "only where logprobs is true");
    if (request.options.logprobs) request.options.logprobs = static_cast<uint32_t>(*top);
  }
  const Tools tools = read_tools(body);
  set_chat(request, chat_prompt(body, tools, model), model, "messages");
  constrain(tools, read_output_format(fields), request.format, model, request.options);
  return request;
}

void set_chat(CompletionRequest& request, ChatPrompt prompt, const ServedModel& model, const char* param) {
  request.format = prompt.format;
  request.prompts.push_back(std::move(prompt.tokens));
  const auto marks = request.format.control_tokens(*model.tokenizer);
  request.options.shown.insert(request.options.shown.end(), marks.begin(), marks.end());
  check_lengths(request.prompts, model, param);
}

CompletionRequest text_request(const Json& body, const ServedModel& model) {
  CompletionRequest request;
  const Fields fields(body);
  read_common(fields, model, request);
  request.echo = fields.flag("echo");
  if (const Json* logprobs = fields.find("logprobs"); logprobs != nullptr && !logprobs->is_boolean())
    request.options.logprobs = static_cast<uint32_t>(*fields.integer("logprobs", 0, kMostLogprobs));
  else if (fields.flag("logprobs"))
    request.options.logprobs = 1;
  if (!fields.find("max_tokens") && !fields.find("max_completion_tokens"))
    request.options.max_tokens = std::min(request.options.max_tokens, kTextTokens);
  request.prompts = read_prompts(fields, "prompt", model, {.add_eos = false, .parse_special = true});
  constrain({}, read_output_format(fields), request.format, model, request.options);
  if (request.prompts.size() * request.n > kMostAnswers)
    fields.refuse("n", fmt::format("at most {} answers to all prompts together", kMostAnswers));
  return request;
}

}  // namespace cairn::server
