// Flags that commands which run a model share.
#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/engine.hpp"
#include "llm/model.hpp"
#include "llm/prefix_files.hpp"

namespace cairn::cli {

constexpr const char* kSanitizeHelp =
    "control tokens in the prompt (<|im_end|>) are plain text; without it they are what they name";

// Tells what a model's file leaves open, in one line, if anything.
void warn_of(const text::Tokenizer& tokenizer);
// MODEL, also -m as llama.cpp has it.
void add_model(CLI::App& command, std::string& model);

// --threads (-t) alone
void add_threads(CLI::App& command, uint32_t& threads);

// --threads --context --memory --kv --precision --repeatable and those of add_device_flags
void add_engine_flags(CLI::App& command, engine::Options& options);

// --device --gpu-memory. The device is "auto" where none is given; `keeps_prefixes`, which a GPU does not, makes
// that the CPU.
void add_device_flags(CLI::App& command, engine::Options& options);
void choose_device(engine::Options& options, bool keeps_prefixes);

// --kv alone, and how its value is written
void add_kv_flag(CLI::App& command, engine::KvType& kv);
void add_weights_flag(CLI::App& command, engine::Weights& weights);  // --mmap
std::string kv_name(engine::KvType kv);

// --memory alone
void add_memory_flag(CLI::App& command, engine::Options& options);

// -n --stop --ignore-end and the sampler's: --temperature --top-k --top-p --min-p --repetition-penalty
// --frequency-penalty --presence-penalty --penalty-window --logit-bias --seed
void add_generate_flags(CLI::App& command, llm::GenerateOptions& options);

// "prefill 31 tokens, 1234.5 tok/s (12 more were cached); decode 63 tokens, 210.9 tok/s"
std::string describe(const llm::Statistics& statistics);

// "412.0 of 430.2 MiB; stack: 96.1 of 101.7 MiB, 5.71 bits a weight". For other
// models that they are no stack.
std::string describe(const engine::Engine& engine);

// What prompts begin with, on disk; troubles are told as warnings.
std::shared_ptr<llm::PrefixFiles> prefix_files(const llm::Model& model, const engine::Engine& engine);

// text, tokens, finish_reason, stop, and the statistics; see docs/cli.md.
nlohmann::ordered_json to_json(const llm::Result& result);

}  // namespace cairn::cli
