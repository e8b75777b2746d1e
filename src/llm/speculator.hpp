#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/engine.hpp"
#include "llm/guesses.hpp"
#include "llm/step_cost.hpp"

namespace cairn::llm {

// Decides what is guessed for the texts of one engine: from where and how many tokens, so that the most
// tokens come a second, by what guesses of that kind were worth, what drafting took and what steps of so many
// rows took on this machine; nothing where that loses. Not thread-safe.
class Speculator {
 public:
  // sampled: tokens to choose from.
  Speculator(std::shared_ptr<engine::Engine> engine, size_t sampled);
  // A model of the same vocabulary (check_draft) that drafts; null: none. It reads texts too, in sequences of
  // its own.
  void set_draft(std::shared_ptr<engine::Engine> draft);
  // Error invalid_argument: guesses of this kind cannot be made here.
  void check(Speculation kind) const;

  // One that decodes.
  struct Text {
    Guesses* guesses;
    std::span<const Token> tokens;  // prompt and answer
    engine::Sequence* sequence;     // has read all of them but the last
    size_t most;                    // guesses that there is room for
  };
  // Makes guesses for the step that gives each of `decoding` sequences a token, those of the texts among
  // them: Guesses::tokens(). A step of more rows than Engine::rows() gets none. piece: as many tokens a small
  // model reads now of texts that it is behind in; those that it does not reach the end of get no guesses.
  // Sequences are as they were. Trouble with a draft is nobody's error: that text goes on without. Throws
  // what `cancelled` throws.
  void guess(std::span<const Text> texts, size_t decoding, uint32_t piece,
             const engine::Cancelled& cancelled = {});
  // A step of so many rows that did nothing else took so long.
  void learn(size_t rows, double seconds) { cost_.learn(rows, seconds); }

 private:
  struct Draft {
    Draft(std::shared_ptr<engine::Engine> with, double bits_a_weight, double share_of_time, double right);
    double token(const StepCost& model) const;  // seconds
    std::shared_ptr<engine::Engine> engine;
    double bits;   // of a stack that drafts for itself; 0: another model
    double share;  // supposed of the model's time
    StepCost cost{};
    Chance usual;                       // that a token is right, of all texts
    std::array<Chance, 8> by_sureness;  // … by how sure the draft is
  };
  // A text, where its guesses come from, and how many.
  struct Choice {
    const Text* text = nullptr;
    Draft* draft = nullptr;         // null: lookup
    std::vector<double> chances{};  // of each guess, the ones before it being right
    size_t depth = 0;
    double chance = 1;  // of the guesses made so far
  };

  std::optional<Choice> choose(const Text& text, size_t decoding, size_t most);
  double rate(const Choice& choice, size_t decoding) const;
  double share(std::span<Choice> choices, size_t decoding) const;
  void look_up(Choice& choice, size_t& rows, double rate);
  void draft(Draft& with, std::span<Choice*> choices, size_t& rows, double rate, uint32_t& piece,
             const engine::Cancelled& cancelled);
  bool catch_up(Draft& with, Choice& choice, uint32_t& piece, const engine::Cancelled& cancelled);
  void run(Draft& with, std::span<Choice*> choices);
  bool take(Draft& with, Choice& choice, std::span<float> logits, size_t& rows, double rate);

  std::shared_ptr<engine::Engine> engine_;
  size_t sampled_;
  StepCost cost_{};
  std::vector<Draft> drafts_{};
  std::vector<float> logits_{};  // [sequences][vocabulary] of a draft's step
};

}  // namespace cairn::llm
