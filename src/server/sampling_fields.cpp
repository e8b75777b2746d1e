#include "server/sampling_fields.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace cairn::server {
namespace {

constexpr uint32_t kMostStops = 16;  // OpenAI takes 4

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

}  // namespace

void read_sampling(const Fields& fields, const text::Tokenizer& tokenizer, llm::GenerateOptions& options) {
  set_sampler(fields, options.sampler);
  set_bias(fields, options.sampler, tokenizer.vocabulary());
  options.ignore_end = fields.flag("ignore_eos") || options.ignore_end;
}

void read_stop(const Fields& fields, const char* name, llm::GenerateOptions& options) {
  const Json* stop = fields.find(name);
  if (stop == nullptr) return;
  if (!stop->is_string() && !stop->is_array())
    fields.refuse(name, "a string or an array of strings was expected");
  options.stop.clear();
  for (const Json& one : stop->is_array() ? *stop : Json::array({*stop})) {
    if (!one.is_string() || one.get_ref<const std::string&>().empty())
      fields.refuse(name, "each must be a string that is not empty");
    options.stop.push_back(one.get<std::string>());
  }
  if (options.stop.size() > kMostStops) fields.refuse(name, fmt::format("at most {} strings", kMostStops));
}

void read_most_tokens(const Fields& fields, const char* name, llm::GenerateOptions& options) {
  constexpr int64_t kMost = std::numeric_limits<uint32_t>::max();
  if (const auto most = fields.integer(name, 0, kMost)) options.max_tokens = static_cast<uint32_t>(*most);
}

}  // namespace cairn::server
