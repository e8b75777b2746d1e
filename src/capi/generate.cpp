#include "capi/generate.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "capi/call.hpp"
#include "capi/options.hpp"
#include "capi/template.hpp"

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

std::optional<llm::Form> form_of(const cairn_generate_options& given) {
  using grammar::Kind;
  struct Named {
    const char *name, *text;
    Kind kind;
  };
  const Named* wanted = nullptr;
  const Named forms[] = {{"json_schema", given.json_schema, Kind::json_schema},
                         {"regex", given.regex, Kind::regex},
                         {"grammar", given.grammar, Kind::ebnf}};
  for (const Named& form : forms) {
    if (form.text == nullptr) continue;
    if (wanted != nullptr)
      fail(ErrorCode::invalid_argument, "{}: an answer cannot be held to {} too", form.name, wanted->name);
    wanted = &form;
  }
  if (wanted == nullptr) return std::nullopt;
  return llm::Form{wanted->kind, wanted->text};
}

const char* name_of(const llm::Form& form) {
  return form.kind == grammar::Kind::regex  ? "regex"
         : form.kind == grammar::Kind::ebnf ? "grammar"
                                            : "json_schema";
}

llm::Tools tools_of(const cairn_generate_options& given) {
  nlohmann::ordered_json choice;
  if (given.tool_choice != nullptr) {
    const std::string_view text = given.tool_choice;
    choice = text.starts_with('{') ? parse_json(given.tool_choice, "tool_choice")
                                   : nlohmann::ordered_json(std::string(text));
  }
  llm::Tools tools = llm::read_tools(
      given.tools == nullptr ? nlohmann::ordered_json() : parse_json(given.tools, "tools"), choice);
  tools.parallel = given.one_call == 0;
  return tools;
}

// What answers are understood by at a prompt's end: a mark.
constexpr size_t kEnd = 64;

std::string end_of(std::span<const int32_t> prompt, const text::Tokenizer& tokenizer) {
  const auto end = prompt.last(std::min(prompt.size(), kEnd));
  const auto known = [&](int32_t token) {
    return token >= 0 && static_cast<size_t>(token) < tokenizer.vocabulary();
  };
  if (!std::all_of(end.begin(), end.end(), known)) return {};  // which is refused elsewhere
  return tokenizer.decode(end, true);
}

int32_t kind_of(llm::Piece::Kind kind) {
  switch (kind) {
    case llm::Piece::Kind::text:
      return CAIRN_PIECE_TEXT;
    case llm::Piece::Kind::reasoning:
      return CAIRN_PIECE_REASONING;
    case llm::Piece::Kind::call:
      return CAIRN_PIECE_CALL;
    case llm::Piece::Kind::arguments:
      return CAIRN_PIECE_ARGUMENTS;
  }
  return CAIRN_PIECE_TEXT;
}

std::vector<cairn_token_logprob> likeliest(const llm::TokenLogprobs& of) {
  std::vector<cairn_token_logprob> top;
  for (const auto& likely : of.top) top.push_back({likely.token, likely.logprob});
  return top;
}

struct Free {
  void operator()(void* memory) const noexcept { std::free(memory); }
};

// The calls with their texts behind them, in one piece of memory.
cairn_tool_call* handed_out(const std::vector<llm::ToolCall>& calls) {
  if (calls.empty()) return nullptr;
  size_t size = calls.size() * sizeof(cairn_tool_call);
  for (const llm::ToolCall& one : calls) size += one.id.size() + one.name.size() + one.arguments.size() + 3;
  auto* const made = static_cast<cairn_tool_call*>(std::malloc(size));
  if (made == nullptr) throw std::bad_alloc();
  char* at = reinterpret_cast<char*>(made + calls.size());
  const auto put = [&](const std::string& text) {
    const char* const begin = at;
    std::memcpy(at, text.c_str(), text.size() + 1);
    at += text.size() + 1;
    return begin;
  };
  for (size_t i = 0; i < calls.size(); ++i)
    made[i] = {put(calls[i].id), put(calls[i].name), put(calls[i].arguments)};
  return made;
}

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
  if (given.on_prompt != nullptr) {
    if (given.logprobs == 0)
      fail(ErrorCode::invalid_argument, "on_prompt: it tells logprobs: without logprobs");
    options.prompt_logprobs = [tell = given.on_prompt, user = given.user](size_t first,
                                                                          const auto& logprobs) {
      std::vector<std::vector<cairn_token_logprob>> top;
      std::vector<cairn_prompt_token> told;
      for (const llm::TokenLogprobs& one : logprobs) {
        top.push_back(likeliest(one));
        told.push_back({one.token, one.logprob, top.back().data(), top.back().size()});
      }
      tell(user, static_cast<uint32_t>(first), told.data(), told.size());
    };
  }
  auto form = form_of(given);
  if (given.tools != nullptr) {
    tools.emplace(model.forms(), tools_of(given), std::move(form), model.grammars());
  } else if (given.tool_choice != nullptr) {
    tools_of(given);  // refuses what needs some
  }
  if (tools || !form) return;
  try {
    options.grammar = model.grammars().compile(form->kind, form->text);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    fail(ErrorCode::unsupported, "{}: {}", name_of(*form), error.what());
  }
}

llm::GenerateOptions Wanted::options_for(std::span<const int32_t> prompt, const Model& model) const {
  llm::GenerateOptions own = options;
  if (tools) tools->hold(own, end_of(prompt, *model.model->tokenizer()));
  return own;
}

llm::TokenCallback Wanted::token() const {
  if (given.on_token == nullptr) return {};
  // The event's text ends with a 0, a string_view's need not.
  return [call = given.on_token, user = given.user, text = std::string(),
          top = std::vector<cairn_token_logprob>(), pieces = std::vector<cairn_piece>(),
          parsed = tools.has_value()](const llm::TokenEvent& event) mutable {
    text.clear();
    pieces.clear();
    if (!parsed) text = event.text;
    for (const llm::Piece& piece : event.pieces) {
      if (piece.kind == llm::Piece::Kind::text) text += piece.text;
      pieces.push_back({kind_of(piece.kind), piece.text.c_str(), piece.text.size(), piece.id.c_str()});
    }
    cairn_token_event told{};
    told.size = sizeof told;
    told.token = event.token;
    told.text = text.c_str();
    told.text_size = text.size();
    if (event.logprobs != nullptr) {
      top = likeliest(*event.logprobs);
      told.logprob = event.logprobs->logprob;
      told.top = top.data();
      told.top_count = top.size();
    }
    told.pieces = pieces.data();
    told.piece_count = pieces.size();
    return call(user, &told) == 0;
  };
}

llm::GenerateOptions cancellable(Session& session, const Wanted& wanted, llm::GenerateOptions options) {
  session.cancelled.store(false);
  options.cancelled = [&session, &wanted] { return session.cancelled.load() || wanted.is_cancelled(); };
  return options;
}

// Of a result whose caller knows what tools give, and gives it back.
constexpr size_t kWithCalls = offsetof(cairn_result, call_count) + sizeof(size_t);

void prepare(cairn_result* result) {
  if (result == nullptr) return;
  // Less would leave no room for what has to be given back.
  check_size(result->size, offsetof(cairn_result, finish), "cairn_result");
  write_struct(result, cairn_result{}, "cairn_result");
}

void write(cairn_result* to, const llm::Result& result) {
  if (to == nullptr) return;
  const std::string& answer = result.message ? result.message->text : result.text;
  std::unique_ptr<char, Free> text(handed_out(answer));
  std::unique_ptr<int32_t, Free> tokens(handed_out(result.tokens));
  std::unique_ptr<char, Free> stop(result.stop.empty() ? nullptr : handed_out(result.stop));
  std::unique_ptr<char, Free> message;
  std::unique_ptr<cairn_tool_call, Free> calls;
  const llm::Statistics& s = result.statistics;
  cairn_result told{};
  told.text_size = answer.size();
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
  if (result.message && to->size >= kWithCalls) {
    using Handler = nlohmann::ordered_json::error_handler_t;
    message.reset(handed_out(result.message->json().dump(-1, ' ', false, Handler::replace)));
    calls.reset(handed_out(result.message->calls));
    told.message = message.get();
    told.calls = calls.get();
    told.call_count = result.message->calls.size();
  }
  write_struct(to, told, "cairn_result");
  message.release();
  calls.release();
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
  if (result->size >= kWithCalls) {
    std::free(result->message);
    std::free(result->calls);
  }
  quietly([&] { prepare(result); });
}
