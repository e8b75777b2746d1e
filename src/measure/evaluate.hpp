// How good a model is: perplexity, LAMBADA, and how far one precision is from another.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.hpp"
#include "engine/engine.hpp"
#include "text/tokenizer.hpp"

namespace cairn::measure {

// Called between passes with the tokens done and all of them; what it throws ends the evaluation.
using EvaluateProgress = std::function<void(uint64_t done, uint64_t total)>;
// Gets every row of logits in order: the window, the position in it, [vocabulary].
using LogitsSink = std::function<void(size_t window, uint32_t position, std::span<const float> logits)>;

// A text's tokens cut into windows of `context` tokens, what is left at the end dropped. Where the model
// begins texts with BOS, each window begins with BOS in place of its first token (llama.cpp's convention).
// limit: at most so many windows, 0 = all.
// Errors: invalid_argument (context < 2, a text shorter than one window; both numbers told).
std::vector<std::vector<text::Token>> evaluation_windows(const text::Tokenizer& tokenizer,
                                                         std::string_view text, uint32_t context,
                                                         size_t limit = 0);

struct Perplexity {
  double all = 0;          // exp of the mean −log p(next token), over every position that has a next token
  double second_half = 0;  // over positions context/2 … context−2 of each window (llama.cpp's figure)
  uint64_t tokens = 0;     // scored for `all`
};

struct Agreement {
  double mean_kl = 0;  // KL(reference ‖ engine) in nats, over every position
  double max_kl = 0;
  double top1 = 0;  // share of positions whose most probable token is the same
  uint64_t positions = 0;
  Perplexity reference, engine;
};

struct LambadaResult {
  double accuracy = 0;  // share of passages whose whole last word is predicted greedily
  uint64_t passages = 0, correct = 0;
};

// Evaluations of one engine, window by window. Errors: numeric (NaN or infinity in the logits; position and
// token told), format (a LAMBADA line that is not {"text": "..."}; file and line told), and what the engine
// throws.
class Evaluator {
 public:
  // pool: used between the engine's steps to look at the logits. cancelled: as Engine::step takes it.
  Evaluator(engine::Engine& engine, ThreadPool& pool, EvaluateProgress progress = {},
            engine::Cancelled cancelled = {});

  Perplexity perplexity(std::span<const std::vector<text::Token>> windows, const LogitsSink& sink = {});

  // Both engines see every window; progress counts its tokens once.
  Agreement agreement(engine::Engine& reference, std::span<const std::vector<text::Token>> windows);

  // passages: each is split at its last space; all tokens of " lastword" must be the most probable ones, each
  // after the true tokens before it (Paperno et al., arXiv 1606.06031; scored as lm-evaluation-harness does).
  LambadaResult lambada(const text::Tokenizer& tokenizer, std::span<const std::string> passages);

 private:
  engine::Engine& engine_;
  ThreadPool& pool_;
  EvaluateProgress progress_;
  engine::Cancelled cancelled_;
};

// The "text" of each line of a JSON-lines file. limit: at most so many, 0 = all.
// Errors: not_found, io, format (file and line told; also when there is none).
std::vector<std::string> read_lambada(const std::string& path, size_t limit = 0);

}  // namespace cairn::measure
