#include "cli/session_flags.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <map>
#include <optional>
#include <vector>

#include "base/byte_size.hpp"
#include "base/error.hpp"
#include "base/printable.hpp"
#include "base/standard_streams.hpp"

namespace cairn::cli {
namespace {

// ID=VALUE or ID=-inf
std::pair<text::Token, float> parse_bias(const std::string& flag) {
  const size_t equals = flag.find('=');
  char* id_end = nullptr;
  char* value_end = nullptr;
  if (equals != std::string::npos && equals > 0 && equals + 1 < flag.size()) {
    const long id = std::strtol(flag.c_str(), &id_end, 10);
    const float value = std::strtof(flag.c_str() + equals + 1, &value_end);
    if (id_end == flag.c_str() + equals && *value_end == '\0' && id >= 0 && id <= INT32_MAX) {
      return {static_cast<text::Token>(id), value};
    }
  }
  fail(ErrorCode::invalid_argument, "--logit-bias {}: not of the form ID=VALUE", flag);
}

std::optional<uint64_t> parse_seed(const std::string& text) {
  if (text == "-1") return std::nullopt;
  uint64_t seed = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (status != std::errc() || end != text.data() + text.size())
    fail(ErrorCode::invalid_argument, "--seed {}: not -1 or a number from 0 to {}", text, UINT64_MAX);
  return seed;
}

}  // namespace

void warn_of(const text::Tokenizer& tokenizer) {
  if (const std::string warning = tokenizer.warning(); !warning.empty())
    tell("cairn: {}\n", printable(warning));
}

void add_runner_flags(CLI::App& command, device::RunnerOptions& options) {
  options.context = 0;
  command
      .add_option("--threads", options.threads, "threads to compute with; all usable processors if not given")
      ->check(CLI::Range(1u, 1024u));
  command
      .add_option("--context", options.context,
                  "positions in the KV cache; what the model was trained for if not given, at most 4096")
      ->check(CLI::Range(1u, 1u << 24));
  add_memory_flag(command, options);
  static const std::map<std::string, device::KvType> kv = {{"f16", device::KvType::f16},
                                                           {"i8", device::KvType::i8}};
  command.add_option("--kv", options.kv, "the KV cache's numbers: f16 (default) or i8")
      ->transform(CLI::CheckedTransformer(kv).description(""))
      ->type_name("TYPE");
  static const std::map<std::string, device::Precision> precision = {
      {"standard", device::Precision::standard}, {"f32", device::Precision::f32}};
  command
      .add_option("--precision", options.precision,
                  "of the matrix products: standard (8-bit activations, default) or f32")
      ->transform(CLI::CheckedTransformer(precision).description(""))
      ->type_name("NAME");
}

void add_memory_flag(CLI::App& command, device::RunnerOptions& options) {
  command
      .add_option_function<std::string>(
          "--memory",
          [&options](const std::string& text) {
            options.warn = [](const std::string& line) { fmt::print(stderr, "cairn: {}\n", line); };
            options.memory_auto = text == "auto";
            options.memory = options.memory_auto ? 0 : parse_bytes(text, "--memory");
            if (!options.memory_auto && options.memory == 0)
              fail(ErrorCode::invalid_argument, "--memory 0: nothing runs in no memory");
          },
          "a stack: most resident memory of this process, such as 600M; auto takes what the system can spare")
      ->type_name("BYTES");
}

void add_generate_flags(CLI::App& command, llm::GenerateOptions& options) {
  llm::SamplerOptions& sampler = options.sampler;
  command.add_option("-n,--max-tokens", options.max_tokens,
                     "most tokens to generate; until the context is full if "
                     "not given");
  command.add_option("--stop", options.stop, "end before this text; may be given more than once")
      ->take_all()
      ->allow_extra_args(false)
      ->type_name("TEXT");
  command.add_flag("--ignore-end", options.ignore_end, "go on past the model's end-of-generation tokens");
  command.add_option("--temperature", sampler.temperature, "0 takes the most likely token")
      ->capture_default_str();
  command.add_option("--top-k", sampler.top_k, "choose among the k most likely tokens; 0 is all")
      ->capture_default_str();
  command
      .add_option("--top-p", sampler.top_p, "choose among the likeliest tokens that hold this probability")
      ->capture_default_str();
  command
      .add_option("--min-p", sampler.min_p,
                  "drop tokens less likely than this part of the likeliest's probability")
      ->capture_default_str();
  command
      .add_option("--repetition-penalty", sampler.repetition_penalty,
                  "divides the logits of tokens seen before")
      ->capture_default_str();
  command
      .add_option("--frequency-penalty", sampler.frequency_penalty,
                  "lowers logits for each time a token was seen")
      ->capture_default_str();
  command
      .add_option("--presence-penalty", sampler.presence_penalty, "lowers the logits of tokens seen before")
      ->capture_default_str();
  command
      .add_option("--penalty-window", sampler.penalty_window,
                  "the last tokens that penalties look at; 0 is all")
      ->capture_default_str();
  command
      .add_option_function<std::vector<std::string>>(
          "--logit-bias",
          [&sampler](const std::vector<std::string>& flags) {
            for (const std::string& flag : flags) sampler.logit_bias.push_back(parse_bias(flag));
          },
          "adds VALUE to a token's logit, -inf bans it; may be given more than once")
      ->allow_extra_args(false)
      ->type_name("ID=VALUE");
  command
      .add_option_function<std::string>(
          "--seed", [&sampler](const std::string& text) { sampler.seed = parse_seed(text); },
          "makes the choice of tokens repeatable; -1 is a new one each time (default)")
      ->type_name("N");
}

std::string describe(const llm::Statistics& statistics) {
  std::string text =
      fmt::format("prefill {} tokens, {:.1f} tok/s", statistics.prefill_tokens, statistics.prefill_rate());
  if (statistics.cached_tokens > 0) text += fmt::format(" ({} more were cached)", statistics.cached_tokens);
  return text +
         fmt::format("; decode {} tokens, {:.1f} tok/s", statistics.decode_tokens, statistics.decode_rate());
}

std::string describe(const device::Runner& runner) {
  if (!runner.elastic()) return "no stack: its memory is fixed";
  const device::MemoryStatus m = runner.memory();
  std::string text = fmt::format("memory {}{}; stack: {} of {}, {:.2f} bits a weight", mebibytes(m.process),
                                 m.budget == 0 ? "" : " of " + mebibytes(m.budget), mebibytes(m.stack),
                                 mebibytes(m.stack_all), m.bits);
  return text;
}

nlohmann::ordered_json to_json(const llm::Result& result) {
  const llm::Statistics& s = result.statistics;
  return {{"text", result.text},
          {"tokens", result.tokens},
          {"finish_reason", name(result.finish)},
          {"stop", result.stop},
          {"prompt_tokens", s.prompt_tokens},
          {"cached_tokens", s.cached_tokens},
          {"prefill_tokens", s.prefill_tokens},
          {"decode_tokens", s.decode_tokens},
          {"prefill_s", s.prefill_seconds},
          {"decode_s", s.decode_seconds},
          {"first_token_s", s.first_token_seconds},
          {"prefill_tok_s", s.prefill_rate()},
          {"decode_tok_s", s.decode_rate()},
          {"prefill_threads", s.prefill_threads},
          {"decode_threads", s.decode_threads}};
}

}  // namespace cairn::cli
