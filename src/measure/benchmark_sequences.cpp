#include "measure/benchmark_sequences.hpp"

#include <algorithm>
#include <random>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "llm/model.hpp"
#include "measure/median.hpp"

namespace cairn::measure {
namespace {

using Sequence = std::unique_ptr<engine::Sequence>;

// Sequences with a prompt each, to be decoded from there on as often as one likes.
class Prompts {
 public:
  Prompts(engine::Engine& engine, uint32_t sequences, const BenchmarkOptions& options)
      : engine_(engine), vocabulary_(engine.model().parameters.vocabulary), logits_(sequences * vocabulary_) {
    tokens_.resize(std::max(options.prompt, options.generate));
    for (uint32_t i = 0; i < sequences; ++i) {
      for (int32_t& token : tokens_) token = static_cast<int32_t>(random_() % vocabulary_);
      read_.push_back(engine.make_sequence());
      for (uint32_t at = 0; at < options.prompt; at += engine.chunk()) {
        throw_if_interrupted();
        const uint32_t size = std::min(engine.chunk(), options.prompt - at);
        engine.step({read_[i].get(), {tokens_.data() + at, size}}, interrupted);
      }
    }
  }

  std::vector<Sequence> forks() const {
    std::vector<Sequence> made;
    for (const Sequence& sequence : read_) made.push_back(sequence->fork());
    return made;
  }

  // Seconds for `generate` tokens of each of those sequences.
  double decode(std::span<const Sequence> sequences, uint32_t generate) {
    const Stopwatch watch;
    std::vector<engine::Slice> slices(sequences.size());
    for (uint32_t i = 0; i < generate; ++i) {
      throw_if_interrupted();
      for (size_t s = 0; s < sequences.size(); ++s) {
        slices[s] = {sequences[s].get(),
                     {&tokens_[(i + s) % tokens_.size()], 1},
                     engine::Logits::last,
                     logits_.data() + s * vocabulary_};
      }
      engine_.step(slices);
    }
    return watch.seconds();
  }

 private:
  engine::Engine& engine_;
  size_t vocabulary_;
  std::mt19937 random_{0};
  std::vector<int32_t> tokens_;
  std::vector<float> logits_;  // [sequences, vocabulary]
  std::vector<Sequence> read_;
};

}  // namespace

SequencesResult run_sequences(const std::string& model_path, uint32_t sequences,
                              const BenchmarkOptions& options,
                              const std::function<void(uint32_t done, uint32_t total)>& progress) {
  if (sequences == 0 || options.prompt == 0 || options.generate == 0 || options.repeat == 0) {
    fail(ErrorCode::invalid_argument,
         "bench: --sequences ({}), --prompt ({}), --generate ({}) and --repeat ({}) must be at least 1",
         sequences, options.prompt, options.generate, options.repeat);
  }
  const std::shared_ptr<const llm::Model> model = llm::Model::load(model_path);
  engine::Options engine_options = options.engine;
  if (engine_options.context == 0) engine_options.context = options.prompt + options.generate;
  const auto engine =
      options.make_engine ? options.make_engine(*model, engine_options) : model->make_engine(engine_options);
  Prompts prompts(*engine, sequences, options);
  prompts.decode(prompts.forks(), 1);  // what is touched for the first time

  SequencesResult result{};
  const double tokens = double{1} * sequences * options.generate;
  for (uint32_t i = 0; i < options.repeat; ++i) {
    if (progress) progress(i, options.repeat);
    double alone = 0;
    const std::vector<Sequence> forks = prompts.forks();
    for (const Sequence& sequence : forks) alone += prompts.decode({&sequence, 1}, options.generate);
    const double together = prompts.decode(prompts.forks(), options.generate);
    result.rounds.push_back({tokens / alone, tokens / together});
  }
  std::vector<double> alone, together, ratio;
  for (const SequencesRound& round : result.rounds) {
    alone.push_back(round.alone_tok_s);
    together.push_back(round.together_tok_s);
    ratio.push_back(round.together_tok_s / round.alone_tok_s);
  }
  result.alone_tok_s = median(std::move(alone));
  result.together_tok_s = median(std::move(together));
  result.ratio = median(std::move(ratio));
  return result;
}

}  // namespace cairn::measure
