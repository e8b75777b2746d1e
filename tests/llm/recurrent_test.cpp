// Sessions, schedulers and guesses on models whose state cannot be cut at a position: answers are those of a
// text that is read once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "backends/cpu/engine.hpp"
#include "base/error.hpp"
#include "fake_tokenizer.hpp"
#include "graph/golden_models.hpp"
#include "llm/prefix_files.hpp"
#include "llm/scheduler.hpp"
#include "llm/session.hpp"

namespace cairn::llm {
namespace {

using graph::long_text;

class RecurrentModel : public testing::TestWithParam<const char*> {
 protected:
  std::shared_ptr<engine::Engine> engine() const {
    return cpu::make_engine(file_, {.context = 1024, .threads = 1, .chunk = 128});
  }
  static GenerateOptions greedy(uint32_t most, Speculation speculation = Speculation::none) {
    GenerateOptions options;
    options.max_tokens = most;
    options.ignore_end = true;
    options.sampler.temperature = 0;
    options.speculation = speculation;
    return options;
  }
  std::vector<Token> fresh(const std::vector<Token>& prompt, uint32_t most) const {
    Session session(engine(), tokenizer_);
    return session.generate(prompt, greedy(most)).tokens;
  }
  const gguf::File file_{graph::golden_model_path(GetParam())};
  const std::shared_ptr<const text::Tokenizer> tokenizer_ = std::make_shared<fake::Tokenizer>();
};

TEST_P(RecurrentModel, ASessionGoesOnFromACheckpoint) {
  Session session(engine(), tokenizer_);
  const std::vector<Token> first = long_text(0, 400);
  session.generate(first, greedy(30));
  for (const size_t common : {390u, 300u, 200u, 70u, 20u}) {
    std::vector<Token> prompt = first;
    prompt.resize(common);
    for (const Token token : long_text(3, 60)) prompt.push_back(token);
    const Result result = session.generate(prompt, greedy(20));
    EXPECT_EQ(result.tokens, fresh(prompt, 20)) << common;
    EXPECT_LE(result.statistics.cached_tokens, common);
    EXPECT_EQ(result.statistics.cached_tokens % 64, 0u);
    EXPECT_EQ(result.statistics.cached_tokens + result.statistics.prefill_tokens, prompt.size());
    session.generate(first, greedy(0));
  }
  // The same again: the answer's first token needs the prompt's last one only.
  const Result again = session.generate(first, greedy(20));
  EXPECT_EQ(again.tokens, fresh(first, 20));
  EXPECT_GE(again.statistics.cached_tokens, 384u);
}

TEST_P(RecurrentModel, AWrongGuessLeavesNothing) {
  // A text that repeats itself, so that there is something to guess, and some guesses are wrong.
  std::vector<Token> prompt;
  for (size_t i = 0; i < 200; ++i) prompt.push_back(static_cast<Token>(10 + i % 20 + i / 90));
  const std::vector<Token> expected = fresh(prompt, 150);
  std::vector kinds = {Speculation::lookup, Speculation::draft, Speculation::automatic};
  if (engine()->predicts()) kinds.push_back(Speculation::self);
  for (const Speculation kind : kinds) {
    Session session(engine(), tokenizer_);
    session.set_draft(engine());  // it drafts for itself: a draft with a state of its own
    uint32_t checked = 0;
    uint32_t accepted = 0;
    for (int round = 0; round < 2; ++round) {
      const Result result = session.generate(prompt, greedy(150, kind));
      EXPECT_EQ(result.tokens, expected) << static_cast<int>(kind);
      checked += result.statistics.guessed_tokens;
      accepted += result.statistics.accepted_tokens;
      session.clear();  // few tokens read again are rows, which round otherwise (docs/engine.md)
    }
    // How many are tried follows what steps take on this machine, a handful at least.
    EXPECT_GT(checked, 0U) << static_cast<int>(kind);
    // Prompts that were cut otherwise make a model differ from itself here and there.
    if (kind == Speculation::draft) EXPECT_GE(2 * accepted, checked);
  }
  // Guesses of another model are wrong most of the time.
  Session session(engine(), tokenizer_);
  session.set_draft(std::shared_ptr<engine::Engine>(
      cpu::make_engine(gguf::File(graph::golden_model_path("lfm2_wide")), {.context = 1024, .threads = 1})));
  EXPECT_EQ(session.generate(prompt, greedy(150, Speculation::draft)).tokens, expected);
}

TEST_P(RecurrentModel, ASchedulersAnswersAreASessions) {
  SchedulerOptions options;
  options.sequences = 3;
  Scheduler scheduler(engine(), tokenizer_, options);
  const auto request = [&](std::vector<Token> prompt) {
    Request made;
    made.prompt = std::move(prompt);
    made.options = greedy(30, Speculation::lookup);
    return made;
  };
  std::vector<std::vector<Token>> prompts;
  for (size_t s = 0; s < 6; ++s) {
    prompts.push_back(long_text(0, 250 + 10 * s));  // they begin alike
    for (const Token token : long_text(s, 40)) prompts.back().push_back(token);
  }
  for (int round = 0; round < 2; ++round) {
    std::vector<Scheduler::Ticket> tickets;
    for (const auto& prompt : prompts) tickets.push_back(scheduler.submit(request(prompt)));
    for (size_t s = 0; s < prompts.size(); ++s) {
      const Result result = tickets[s].wait();
      EXPECT_EQ(result.tokens, fresh(prompts[s], 30)) << s;
      EXPECT_EQ(result.statistics.cached_tokens % 64, 0u);
      if (round == 1) EXPECT_GE(result.statistics.cached_tokens, 64u) << s;
    }
  }
  // A chat's next turn goes on behind the answer's last whole block.
  std::vector<Token> turn = prompts[0];
  for (const Token token : fresh(prompts[0], 30)) turn.push_back(token);
  const size_t read = turn.size() - 1;
  for (const Token token : long_text(5, 30)) turn.push_back(token);
  const Result next = scheduler.submit(request(turn)).wait();
  EXPECT_EQ(next.tokens, fresh(turn, 30));
  EXPECT_EQ(next.statistics.cached_tokens, read / 64 * 64);
}

TEST_P(RecurrentModel, PrefixesOnDiskAreRefused) {
  const auto made = engine();
  try {
    check_prefixes(file_, *made);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_THAT(error.what(), testing::HasSubstr("have a recurrent state"));
    EXPECT_THAT(error.what(), testing::HasSubstr(made->model().parameters.architecture));
  }
  const gguf::File llama(graph::golden_model_path("llama"));
  check_prefixes(llama, *cpu::make_engine(llama, {.context = 64, .threads = 1}));
}

INSTANTIATE_TEST_SUITE_P(, RecurrentModel, testing::ValuesIn(graph::kRecurrentModels),
                         [](const auto& tested) { return std::string(tested.param); });

}  // namespace
}  // namespace cairn::llm
