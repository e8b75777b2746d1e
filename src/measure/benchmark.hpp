#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "llm/model.hpp"
#include "measure/peaks.hpp"

namespace cairn::measure {

struct BenchmarkOptions {
  uint32_t prompt = 512, generate = 64, repeat = 5;
  engine::Options engine;  // context 0: prompt + generate
  std::string against;     // a shell command that prints a peer's JSON, or empty
  // Measured besides, unless none: greedy answers of `generate` tokens to the question, or to random tokens
  // if it is empty.
  llm::Speculation speculation = llm::Speculation::none;
  std::string question;
  // Makes the engine that drafts, where speculation wants one; may give null.
  std::function<std::shared_ptr<engine::Engine>(const llm::Model&, const engine::Options&)> make_draft{};
  // Makes the engine instead of Model::make_engine, for prefill on another device.
  std::function<std::shared_ptr<engine::Engine>(const llm::Model&, const engine::Options&)> make_engine{};
};

// Tokens a second of one interleaved round.
struct Round {
  double prefill_tok_s, decode_tok_s;
  double prefill_threads, decode_threads;        // that worked, on average
  double int8_gops, read_gb_s;                   // the machine's limits, measured beside the round
  double peer_prefill_tok_s, peer_decode_tok_s;  // 0 without a peer
};

struct BenchmarkResult {
  std::vector<Round> rounds;
  size_t threads;  // the most that could work
  // Medians over the rounds, each ratio taken inside its own round first.
  double prefill_tok_s, decode_tok_s;
  double prefill_threads, decode_threads;
  double prefill_of_peak;      // products of the layers' linears against the best int8 sequence
  double decode_of_bandwidth;  // weight bytes read a second against reading memory
  double peer_prefill_tok_s, peer_decode_tok_s, prefill_ratio, decode_ratio;
  std::string peak_instructions;
  std::string device;     // a GPU, where it ran on one: the two above mean nothing then
  double first_token_s;   // from the program's start: load, prefill of the prompt, first token
  double rss_mib;         // peak resident set, the mapped file included
  double rss_beyond_mib;  // of which neither the mapped file nor pages of keys and values
  double joules_per_token_prefill, joules_per_token_decode;  // < 0: RAPL cannot be read
  // With speculation against without: decode's rates, the median over the rounds; over all rounds, what it
  // did.
  double speculate_gain, speculate_tokens_a_step;
  uint64_t speculate_guessed, speculate_accepted;
  double gop_per_token;        // operations of the layers' linears for one token, 10^9
  double weight_mb_per_token;  // bytes of weights that decode reads for one token, 10^6
};

// Seconds since the program was started (measured from static initialisation).
double seconds_since_start();

// Prefills `prompt` pseudo-random tokens and decodes `generate`, `repeat` times after a first, cold round.
// Errors: as Model::load and Engine::step; io when the peer's command fails or prints no JSON; cancelled.
BenchmarkResult run_benchmark(const std::string& model_path, const BenchmarkOptions& options,
                              const std::function<void(uint32_t done, uint32_t total)>& progress);

}  // namespace cairn::measure
