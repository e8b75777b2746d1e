#include "server/completion_request.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "llm/chat.hpp"
#include "server/api_error.hpp"

namespace cairn::server {
namespace {

constexpr uint32_t kMostAnswers = 128, kMostStops = 16;  // OpenAI's n; it takes 4 stop strings
constexpr uint32_t kTextTokens = 16;                     // OpenAI's default of /v1/completions

void set_stop(const Fields& fields, llm::GenerateOptions& options) {
  const Json* stop = fields.find("stop");
  if (stop == nullptr) return;
  if (!stop->is_string() && !stop->is_array())
    fields.refuse("stop", "a string or an array of strings was expected");
  options.stop.clear();
  for (const Json& one : stop->is_array() ? *stop : Json::array({*stop})) {
    if (!one.is_string() || one.get_ref<const std::string&>().empty())
      fields.refuse("stop", "each must be a string that is not empty");
    options.stop.push_back(one.get<std::string>());
  }
  if (options.stop.size() > kMostStops) fields.refuse("stop", fmt::format("at most {} strings", kMostStops));
}

void set_bias(const Fields& fields, llm::SamplerOptions& sampler, size_t vocabulary) {
  const Json* biases = fields.find("logit_bias");
  if (biases == nullptr) return;
  if (!biases->is_object()) fields.refuse("logit_bias", "an object of token ids and numbers was expected");
  for (const auto& [key, value] : biases->items()) {
    const bool digits =
        !key.empty() && key.size() < 10 && key.find_first_not_of("0123456789") == std::string::npos;
    if (!digits || std::stoul(key) >= vocabulary)
      fields.refuse("logit_bias", fmt::format("'{}' is no token of a vocabulary of {}", key, vocabulary));
    if (!value.is_number() || std::abs(value.get<double>()) > 100)
      fields.refuse("logit_bias", fmt::format("the bias of token {} is no number from -100 to 100", key));
    const auto bias = value.get<float>();
    sampler.logit_bias.emplace_back(static_cast<llm::Token>(std::stoul(key)),
                                    bias <= -100 ? -std::numeric_limits<float>::infinity() : bias);
  }
}

void set_sampler(const Fields& fields, llm::SamplerOptions& sampler) {
  const auto set = [&](const char* name, float& to, double least, double most) {
    if (const auto value = fields.number(name, least, most)) to = static_cast<float>(*value);
  };
  set("temperature", sampler.temperature, 0, 100);
  set("top_p", sampler.top_p, 0, 1);
  if (sampler.top_p <= 0) sampler.top_p = std::numeric_limits<float>::min();  // the likeliest alone
  set("min_p", sampler.min_p, 0, 1);
  set("frequency_penalty", sampler.frequency_penalty, -2, 2);
  set("presence_penalty", sampler.presence_penalty, -2, 2);
  set("repetition_penalty", sampler.repetition_penalty, 0.01, 100);  // vLLM's name
  set("repeat_penalty", sampler.repetition_penalty, 0.01, 100);      // llama.cpp's
  if (const auto k = fields.integer("top_k", -1, INT32_MAX))
    sampler.top_k = static_cast<uint32_t>(std::max<int64_t>(*k, 0));
  if (const Json* seed = fields.find("seed"); seed != nullptr && seed->is_number_unsigned()) {
    sampler.seed = seed->get<uint64_t>();
  } else if (const auto whole = fields.integer("seed", INT64_MIN, INT64_MAX)) {
    sampler.seed = static_cast<uint64_t>(*whole);
  }
}

// What is known and not there: an answer without it would be another than was asked for.
void refuse_missing(const Fields& fields) {
  const auto is_off = [](const Json& value) {
    return (value.is_boolean() && !value.get<bool>()) || (value.is_array() && value.empty());
  };
  for (const char* name :
       {"logprobs", "echo", "suffix", "functions", "audio", "prompt_logprobs", "guided_json", "guided_regex",
        "guided_grammar", "guided_choice", "grammar", "json_schema"}) {
    const Json* value = fields.find(name);
    if (value != nullptr && !is_off(*value)) fields.refuse(name, "this server cannot do that yet");
  }
  const Json* tools = fields.find("tools");
  const Json* choice = fields.find("tool_choice");
  const bool unwanted = choice != nullptr && *choice == "none";
  if (tools != nullptr && !is_off(*tools) && !unwanted)
    fields.refuse("tools", "this server cannot call tools yet");
  if (const Json* format = fields.find("response_format")) {
    const bool typed = format->is_object() && format->contains("type") && (*format)["type"].is_string();
    if (!typed) fields.refuse("response_format", "an object with a type was expected");
    if ((*format)["type"] != "text") {
      fields.refuse("response_format", fmt::format("this server cannot enforce {} yet, only text",
                                                   (*format)["type"].get<std::string>()));
    }
  }
}

void read_common(const Fields& fields, const ServedModel& model, CompletionRequest& request) {
  request.options = model.defaults;
  refuse_missing(fields);
  set_sampler(fields, request.options.sampler);
  set_bias(fields, request.options.sampler, model.tokenizer->vocabulary());
  set_stop(fields, request.options);
  constexpr int64_t kMost = std::numeric_limits<uint32_t>::max();
  for (const char* name : {"max_tokens", "max_completion_tokens"}) {  // the newer name counts
    if (const auto most = fields.integer(name, 0, kMost))
      request.options.max_tokens = static_cast<uint32_t>(*most);
  }
  request.n = static_cast<uint32_t>(fields.integer("n", 1, kMostAnswers).value_or(1));
  const auto best = fields.integer("best_of", 1, kMostAnswers);
  if (best && *best != request.n)
    fields.refuse("best_of", "this server gives all answers: best_of must be n");
  request.options.ignore_end = fields.flag("ignore_eos") || request.options.ignore_end;
  request.stream = fields.flag("stream");
  if (const Json* options = fields.find("stream_options")) {
    if (!options->is_object()) fields.refuse("stream_options", "an object was expected");
    if (!request.stream) fields.refuse("stream_options", "only where stream is true");
    request.include_usage = Fields(*options, "stream_options.").flag("include_usage");
  }
}

void check_lengths(const CompletionRequest& request, const ServedModel& model, const char* param) {
  const uint32_t context = model.engine->context();
  for (const auto& prompt : request.prompts) {
    if (prompt.size() <= context) continue;
    throw ApiError(400, fmt::format("the prompt has {} tokens, the context holds {}", prompt.size(), context),
                   param, "context_length_exceeded");
  }
}

// The texts of a message that comes in parts, a line each.
std::string joined(const Json& parts, const std::string& at) {
  std::string text;
  for (const Json& part : parts) {
    const bool typed = part.is_object() && part.contains("type") && part["type"].is_string();
    if (!typed) throw ApiError(400, at + ": each part needs a type", at);
    const std::string type = part["type"];
    if (type != "text" && type != "input_text" && type != "output_text" && type != "refusal")
      throw ApiError(400, fmt::format("{}: this model reads text alone, not {}", at, type), at);
    const char* field = type == "refusal" ? "refusal" : "text";
    if (!part.contains(field) || !part[field].is_string())
      throw ApiError(400, fmt::format("{}: a part of type {} needs a text", at, type), at);
    if (!text.empty()) text += '\n';
    text += part[field].get_ref<const std::string&>();
  }
  return text;
}

// A message as templates know it.
Json checked_message(Json message, size_t index) {
  const std::string at = fmt::format("messages[{}]", index), content_at = at + ".content";
  if (!message.is_object()) throw ApiError(400, at + ": an object was expected", at);
  Json& role = message["role"];
  if (!role.is_string()) throw ApiError(400, at + ".role: a string was expected", at + ".role");
  if (role == "developer") role = "system";
  static const std::vector<std::string> kRoles = {"system", "user", "assistant", "tool", "function"};
  if (std::find(kRoles.begin(), kRoles.end(), role.get<std::string>()) == kRoles.end())
    throw ApiError(400, fmt::format("{}.role: there is no role '{}'", at, role.get<std::string>()),
                   at + ".role");
  Json& content = message["content"];
  if (content.is_array()) content = joined(content, content_at);
  if (content.is_null() && role == "assistant") content = "";
  if (!content.is_string())
    throw ApiError(400, content_at + ": a string or an array of parts was expected", content_at);
  return message;
}

}  // namespace

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

std::vector<llm::Token> chat_prompt(const Json& body, const ServedModel& model) {
  const Json* messages = Fields(body).find("messages");
  if (messages == nullptr || !messages->is_array() || messages->empty())
    throw ApiError(400, "messages: an array of messages was expected", "messages");
  llm::Conversation conversation;
  for (size_t i = 0; i < messages->size(); ++i)
    conversation.messages.push_back(checked_message((*messages)[i], i));
  if (const Json* more = Fields(body).find("chat_template_kwargs")) {
    if (!more->is_object())
      throw ApiError(400, "chat_template_kwargs: an object was expected", "chat_template_kwargs");
    conversation.variables = *more;
  }
  try {
    return llm::encode_rendered(*model.tokenizer,
                                llm::render(*model.chat_template(), *model.tokenizer, conversation));
  } catch (const Error& error) {
    throw ApiError(400, fmt::format("the model's chat template: {}", error.what()), "messages");
  }
}

CompletionRequest chat_request(const Json& body, const ServedModel& model) {
  CompletionRequest request;
  request.chat = true;
  read_common(Fields(body), model, request);
  request.prompts.push_back(chat_prompt(body, model));
  check_lengths(request, model, "messages");
  return request;
}

CompletionRequest text_request(const Json& body, const ServedModel& model) {
  CompletionRequest request;
  const Fields fields(body);
  read_common(fields, model, request);
  if (!fields.find("max_tokens") && !fields.find("max_completion_tokens"))
    request.options.max_tokens = std::min(request.options.max_tokens, kTextTokens);
  const Json* prompt = fields.find("prompt");
  if (prompt == nullptr) fields.refuse("prompt", "it is missing");
  const bool ids = prompt->is_array() && !prompt->empty() && prompt->front().is_number();
  for (const Json& one : prompt->is_array() && !ids ? *prompt : Json::array({*prompt})) {
    if (one.is_string()) {
      request.prompts.push_back(model.tokenizer->encode(one.get_ref<const std::string&>(),
                                                        {.add_eos = false, .parse_special = true}));
    } else if (one.is_array()) {
      request.prompts.push_back(token_ids(one, "prompt", model.tokenizer->vocabulary()));
    } else {
      fields.refuse("prompt", "a string, an array of token ids, or an array of those was expected");
    }
  }
  if (request.prompts.empty()) fields.refuse("prompt", "it is empty");
  if (request.prompts.size() * request.n > kMostAnswers)
    fields.refuse("n", fmt::format("at most {} answers to all prompts together", kMostAnswers));
  check_lengths(request, model, "prompt");
  return request;
}

}  // namespace cairn::server
