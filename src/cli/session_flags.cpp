#include "cli/session_flags.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <initializer_list>
#include <limits>
#include <optional>
#include <vector>

#include "backends/cuda/list_devices.hpp"
#include "base/byte_size.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/standard_streams.hpp"
#include "cli/parser/values.hpp"

namespace cairn::cli {
namespace {

constexpr std::initializer_list<std::pair<const char*, engine::KvType>> kKvTypes = {
    {"f16", engine::KvType::f16}, {"i8", engine::KvType::i8}, {"q4", engine::KvType::q4}};

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

void tell_warnings(engine::Options& options) {
  options.warn = [](const std::string& line) { warn("{}", line); };
}

// "auto", or a number of bytes
void set_memory(engine::Options& options, const std::string& text) {
  tell_warnings(options);
  options.memory_auto = text == "auto";
  options.memory = options.memory_auto ? 0 : parse_bytes(text, "--memory");
  if (!options.memory_auto && options.memory == 0)
    fail(ErrorCode::invalid_argument, "--memory 0: nothing runs in no memory");
}

void set_device_memory(engine::Options& options, const std::string& text) {
  options.device_memory_auto = text == "auto";
  options.device_memory = options.device_memory_auto ? 0 : parse_bytes(text, "--gpu-memory");
  if (!options.device_memory_auto && options.device_memory == 0)
    fail(ErrorCode::invalid_argument, "--gpu-memory 0: nothing runs in no memory; --device cpu uses none");
}

}  // namespace

void warn_of(const text::Tokenizer& tokenizer) {
  if (const std::string warning = tokenizer.warning(); !warning.empty()) warn("{}", warning);
}

void add_model(CLI::App& command, std::string& model) {
  command.add_option("MODEL,-m,--model", model, "a model file or the short name of a pulled model")
      ->required();
}

void add_threads(CLI::App& command, uint32_t& threads) {
  command.add_option("-t,--threads", threads, "threads to compute with; all usable processors if not given")
      ->check(between(1, 1024));
}

void add_engine_flags(CLI::App& command, engine::Options& options) {
  options.context = 0;
  add_threads(command, options.threads);
  command
      .add_option("-c,--context,--ctx-size", options.context,
                  "positions in the KV cache; what the model was trained for if not given, at most 4096")
      ->check(between(1, 1 << 24))
      ->group(kMemory);
  add_device_flags(command, options);
  add_memory_flag(command, options);
  add_kv_flag(command, options.kv);
  add_weights_flag(command, options.weights);
  command
      .add_option("--precision", options.precision,
                  "of the matrix products: with 8-bit activations (standard, if not given) or in floats")
      ->transform(one_of<engine::Precision>(
          {{"standard", engine::Precision::standard}, {"f32", engine::Precision::f32}}))
      ->group(kResearch);
  command
      .add_flag("--repeatable", options.repeatable,
                "read prompts as answers are written, so that an answer is the same to the bit whatever was "
                "read before; takes several times as long")
      ->group(kResearch);
}

void add_device_flags(CLI::App& command, engine::Options& options) {
  options.device = "auto";
  tell_warnings(options);
  command
      .add_option_function<std::string>(
          "--device",
          [&options](const std::string& name) {
            if (name != "auto" && name != "cpu") cuda::device_index(name);
            options.device = name;
          },
          "where the model runs: cpu, cuda or cuda:N (a GPU, see `cairn devices`), auto (if not given): the "
          "first "
          "GPU where there is one that can, else the CPU")
      ->type_name("DEVICE");
  command
      .add_option_function<std::string>(
          "--gpu-memory", [&options](const std::string& text) { set_device_memory(options, text); },
          "most bytes of the GPU's memory, such as 3G; a stack grows and shrinks to it; auto: what is free "
          "there")
      ->type_name("SIZE")
      ->group(kMemory);
}

void choose_device(engine::Options& options, bool keeps_prefixes) {
  if (!keeps_prefixes || options.device == "cpu") return;
  if (options.device != "auto") {
    fail(ErrorCode::invalid_argument,
         "--keep-prefix keeps what the CPU has read, --device {} reads on a GPU: choose one", options.device);
  }
  options.device = "cpu";
}

void add_weights_flag(CLI::App& command, engine::Weights& weights) {
  command
      .add_option(
          "--mmap", weights,
          "weights are read from the file's pages (on), or copied to memory of our own, which is faster and "
          "cannot be paged out (off); auto, if not given, copies files of up to half of the free memory")
      ->transform(one_of<engine::Weights>({{"auto", engine::Weights::automatic},
                                           {"on", engine::Weights::mapped},
                                           {"off", engine::Weights::copied}}))
      ->group(kMemory);
}

void add_kv_flag(CLI::App& command, engine::KvType& kv) {
  command.add_option("--kv", kv, "the KV cache's numbers, f16 if not given")
      ->transform(one_of<engine::KvType>(kKvTypes))
      ->group(kMemory);
}

std::string kv_name(engine::KvType kv) {
  return std::find_if(kKvTypes.begin(), kKvTypes.end(), [&](const auto& type) { return type.second == kv; })
      ->first;
}

void add_memory_flag(CLI::App& command, engine::Options& options) {
  command
      .add_option_function<std::string>(
          "--memory", [&options](const std::string& text) { set_memory(options, text); },
          "a stack: most resident memory of this process, such as 600M; auto: what the system can spare")
      ->type_name("SIZE")
      ->group(kMemory);
}

void add_generate_flags(CLI::App& command, llm::GenerateOptions& options) {
  llm::SamplerOptions& sampler = options.sampler;
  command
      .add_option_function<int64_t>(
          "-n,--max-tokens,--predict",
          [&options](int64_t count) {
            options.max_tokens =
                count < 0 ? std::numeric_limits<uint32_t>::max() : static_cast<uint32_t>(count);
          },
          "most tokens to generate; -1, or not given: until the context is full")
      ->check(between(int64_t{-1}, int64_t{std::numeric_limits<uint32_t>::max()}));
  command.add_option("--stop", options.stop, "end before this text; may be given more than once")
      ->take_all()
      ->allow_extra_args(false)
      ->type_name("TEXT");
  command.add_flag("--ignore-end,--ignore-eos", options.ignore_end,
                   "go on past the model's end-of-generation tokens");
  const auto sampling = [&](const char* names, auto& variable, const char* about) {
    return command.add_option(names, variable, about)->capture_default_str()->group(kSampling);
  };
  sampling("--temperature,--temp", sampler.temperature, "0 takes the most likely token");
  sampling("--top-k", sampler.top_k, "choose among the k most likely tokens; 0 is all");
  sampling("--top-p", sampler.top_p, "choose among the likeliest tokens that hold this probability");
  sampling("--min-p", sampler.min_p, "drop tokens less likely than this part of the likeliest's probability");
  sampling("--repetition-penalty,--repeat-penalty", sampler.repetition_penalty,
           "divides the logits of tokens seen before");
  sampling("--frequency-penalty", sampler.frequency_penalty, "lowers logits for each time a token was seen");
  sampling("--presence-penalty", sampler.presence_penalty, "lowers the logits of tokens seen before");
  sampling("--penalty-window,--repeat-last-n", sampler.penalty_window,
           "the last tokens that penalties look at; 0 is all");
  command
      .add_option_function<std::vector<std::string>>(
          "--logit-bias",
          [&sampler](const std::vector<std::string>& flags) {
            for (const std::string& flag : flags) sampler.logit_bias.push_back(parse_bias(flag));
          },
          "adds VALUE to a token's logit, -inf bans it; may be given more than once")
      ->allow_extra_args(false)
      ->type_name("ID=VALUE")
      ->group(kSampling);
  command
      .add_option_function<std::string>(
          "-s,--seed", [&sampler](const std::string& text) { sampler.seed = parse_seed(text); },
          "makes the choice of tokens repeatable; -1 is a new one each time (default)")
      ->type_name("N")
      ->group(kSampling);
}

std::string describe(const llm::Statistics& statistics) {
  std::string text =
      fmt::format("prefill {} tokens, {:.1f} tok/s", statistics.prefill_tokens, statistics.prefill_rate());
  if (statistics.cached_tokens > 0) text += fmt::format(" ({} more were cached)", statistics.cached_tokens);
  text += fmt::format("; decode {} tokens, {:.1f} tok/s", statistics.decode_tokens, statistics.decode_rate());
  if (statistics.guessed_tokens > 0) {
    text += fmt::format(" in {} steps ({} of {} guesses right)", statistics.decode_steps,
                        statistics.accepted_tokens, statistics.guessed_tokens);
  }
  return text;
}

std::string describe(const engine::Engine& engine) {
  if (!engine.elastic()) return "no stack: its memory is fixed";
  const engine::MemoryStatus m = engine.memory();
  const bool gpu = m.device > 0 && m.device == m.process;  // where all of the model is
  std::string text = fmt::format("{}memory {}{}; stack: {} of {}, {:.2f} bits a weight", gpu ? "GPU " : "",
                                 mebibytes(m.process),
                                 m.automatic     ? " (auto)"
                                 : m.budget == 0 ? ""
                                                 : " of " + mebibytes(m.budget),
                                 mebibytes(m.stack), mebibytes(m.stack_all), m.bits);
  if (m.device > 0 && !gpu) text += fmt::format("; the device's copy: {}", mebibytes(m.device));
  return text;
}

std::shared_ptr<llm::PrefixFiles> prefix_files(const llm::Model& model, const engine::Engine& engine) {
  llm::PrefixFilesOptions options;
  options.warn = [](const std::string& line) { warn("{}", line); };
  return std::make_shared<llm::PrefixFiles>(model.file(), engine, std::move(options));
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
          {"decode_steps", s.decode_steps},
          {"guessed_tokens", s.guessed_tokens},
          {"accepted_tokens", s.accepted_tokens},
          {"prefill_s", s.prefill_seconds},
          {"decode_s", s.decode_seconds},
          {"first_token_s", s.first_token_seconds},
          {"prefill_tok_s", s.prefill_rate()},
          {"decode_tok_s", s.decode_rate()},
          {"prefill_threads", s.prefill_threads},
          {"decode_threads", s.decode_threads}};
}

}  // namespace cairn::cli
