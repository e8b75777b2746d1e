#include "capi/generate.hpp"

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "capi/call.hpp"
#include "capi/options.hpp"

namespace cairn::capi {
namespace {

cairn_generate_options usual() {
  const llm::GenerateOptions options;
  const llm::SamplerOptions& sampler = options.sampler;
  cairn_generate_options own{};
  own.size = sizeof own;
  own.max_tokens = options.max_tokens;
  own.temperature = sampler.temperature;
  own.top_k = sampler.top_k;
  own.top_p = sampler.top_p;
  own.min_p = sampler.min_p;
  own.repetition_penalty = sampler.repetition_penalty;
  own.frequency_penalty = sampler.frequency_penalty;
  own.presence_penalty = sampler.presence_penalty;
  own.penalty_window = sampler.penalty_window;
  return own;
}

llm::Speculation speculation_of(int32_t number) {
  switch (number) {
    case CAIRN_SPECULATE_NONE:
      return llm::Speculation::none;
    case CAIRN_SPECULATE_LOOKUP:
      return llm::Speculation::lookup;
    case CAIRN_SPECULATE_DRAFT:
      return llm::Speculation::draft;
    case CAIRN_SPECULATE_SELF:
      return llm::Speculation::self;
    case CAIRN_SPECULATE_AUTO:
      return llm::Speculation::automatic;
    default:
      fail(ErrorCode::invalid_argument, "speculation: {} is none of 0 to {}", number, CAIRN_SPECULATE_AUTO);
  }
}

int32_t finish_of(llm::FinishReason reason) {
  switch (reason) {
    case llm::FinishReason::stop:
      return CAIRN_FINISH_STOP;
    case llm::FinishReason::length:
      return CAIRN_FINISH_LENGTH;
    case llm::FinishReason::cancelled:
      return CAIRN_FINISH_CANCELLED;
  }
  return CAIRN_FINISH_CANCELLED;
}

// Null where nothing is asked for.
std::shared_ptr<const grammar::Grammar> grammar_of(const cairn_generate_options& given, Model& model) {
  using grammar::Kind;
  struct Form {
    const char *name, *text;
    Kind kind;
  };
  const Form* wanted = nullptr;
  const Form forms[] = {{"json_schema", given.json_schema, Kind::json_schema},
                        {"regex", given.regex, Kind::regex},
                        {"grammar", given.grammar, Kind::ebnf}};
  for (const Form& form : forms) {
    if (form.text == nullptr) continue;
    if (wanted != nullptr)
      fail(ErrorCode::invalid_argument, "{}: an answer cannot be held to {} too", form.name, wanted->name);
    wanted = &form;
  }
  if (wanted == nullptr) return nullptr;
  try {
    return model.grammars().compile(wanted->kind, wanted->text);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    fail(ErrorCode::unsupported, "{}: {}", wanted->name, error.what());
  }
}

struct Free {
  void operator()(void* memory) const noexcept { std::free(memory); }
};

}  // namespace

Wanted::Wanted(const cairn_generate_options* from, Model& model)
    : given(read_options(from, usual(), "cairn_generate_options")) {
  options.max_tokens = given.max_tokens;
  options.ignore_end = given.ignore_end != 0;
  for (const char* const stop : numbers_of(given.stop, given.stop_count, "stop"))
    options.stop.emplace_back(text_of(stop, "stop"));
  llm::SamplerOptions& sampler = options.sampler;
  sampler.temperature = given.temperature;
  sampler.top_k = given.top_k;
  sampler.top_p = given.top_p;
  sampler.min_p = given.min_p;
  sampler.repetition_penalty = given.repetition_penalty;
  sampler.frequency_penalty = given.frequency_penalty;
  sampler.presence_penalty = given.presence_penalty;
  sampler.penalty_window = given.penalty_window;
  for (const cairn_logit_bias& bias : numbers_of(given.biases, given.bias_count, "biases"))
    sampler.logit_bias.emplace_back(bias.token, bias.bias);
  if (given.seeded != 0) sampler.seed = given.seed;
  options.speculation = speculation_of(given.speculation);
  if (given.logprobs != 0) {
    options.logprobs = given.top_logprobs;
  } else if (given.top_logprobs != 0) {
    fail(ErrorCode::invalid_argument, "top_logprobs: {} without logprobs", given.top_logprobs);
  }
  if (given.on_progress != nullptr) {
    options.progress = [report = given.on_progress, user = given.user](uint32_t done, uint32_t total) {
      report(user, done, total);
    };
  }
  options.grammar = grammar_of(given, model);
}

llm::TokenCallback Wanted::token() const {
  if (given.on_token == nullptr) return {};
  // The event's text ends with a 0, a string_view's need not.
  return [call = given.on_token, user = given.user, text = std::string(),
          top = std::vector<cairn_token_logprob>()](const llm::TokenEvent& event) mutable {
    text.assign(event.text);
    cairn_token_event told{};
    told.size = sizeof told;
    told.token = event.token;
    told.text = text.c_str();
    told.text_size = text.size();
    if (event.logprobs != nullptr) {
      top.clear();
      for (const auto& likely : event.logprobs->top) top.push_back({likely.token, likely.logprob});
      told.logprob = event.logprobs->logprob;
      told.top = top.data();
      told.top_count = top.size();
    }
    return call(user, &told) == 0;
  };
}

llm::GenerateOptions cancellable(Session& session, const Wanted& wanted) {
  session.cancelled.store(false);
  llm::GenerateOptions options = wanted.options;
  options.cancelled = [&session, &wanted] { return session.cancelled.load() || wanted.is_cancelled(); };
  return options;
}

void prepare(cairn_result* result) {
  if (result == nullptr) return;
  // Less would leave no room for what has to be given back.
  check_size(result->size, offsetof(cairn_result, finish), "cairn_result");
  write_struct(result, cairn_result{}, "cairn_result");
}

void write(cairn_result* to, const llm::Result& result) {
  if (to == nullptr) return;
  std::unique_ptr<char, Free> text(handed_out(result.text));
  std::unique_ptr<int32_t, Free> tokens(handed_out(result.tokens));
  std::unique_ptr<char, Free> stop(result.stop.empty() ? nullptr : handed_out(result.stop));
  const llm::Statistics& s = result.statistics;
  cairn_result told{};
  told.text_size = result.text.size();
  told.token_count = result.tokens.size();
  told.finish = finish_of(result.finish);
  told.prompt_tokens = s.prompt_tokens;
  told.cached_tokens = s.cached_tokens;
  told.prefill_tokens = s.prefill_tokens;
  told.decode_tokens = s.decode_tokens;
  told.decode_steps = s.decode_steps;
  told.guessed_tokens = s.guessed_tokens;
  told.accepted_tokens = s.accepted_tokens;
  told.prefill_seconds = s.prefill_seconds;
  told.decode_seconds = s.decode_seconds;
  told.first_token_seconds = s.first_token_seconds;
  told.text = text.get();
  told.tokens = tokens.get();
  told.stop = stop.get();
  write_struct(to, told, "cairn_result");
  text.release();
  tokens.release();
  stop.release();
}

}  // namespace cairn::capi

void cairn_generate_options_init(cairn_generate_options* options, size_t size) {
  cairn::capi::write_usual(options, size, cairn::capi::usual());
}

void cairn_result_clear(cairn_result* result) {
  using namespace cairn::capi;
  if (result == nullptr || result->size < offsetof(cairn_result, finish) || result->size > kLargestStruct)
    return;
  std::free(result->text);
  std::free(result->tokens);
  std::free(result->stop);
  quietly([&] { prepare(result); });
}
