// GenerateOptions::prompt_states, of sessions and schedulers.
#include <gtest/gtest.h>

#include "fake_engine.hpp"
#include "fake_tokenizer.hpp"
#include "llm/scheduler.hpp"

namespace cairn::llm {
namespace {

class Engine : public fake::Engine {
 public:
  Engine() : fake::Engine(300, 512, 128, [](const auto&) { return 'a'; }) { model_.parameters.embedding = 2; }
};

TEST(PromptStates, AreThoseOfAllTokensWhateverWasReadBefore) {
  const auto engine = std::make_shared<Engine>();
  const auto tokenizer = std::make_shared<fake::Tokenizer>(std::vector<std::string>(40, "xy"));
  std::vector<Token> prompt;
  for (int i = 0; i < 300; ++i) prompt.push_back('a' + i % 23);
  std::vector<float> states;
  GenerateOptions options;
  options.max_tokens = 0;
  options.prompt_states = [&](size_t first, std::span<const float> some) {
    EXPECT_EQ(first * 2, states.size());
    states.insert(states.end(), some.begin(), some.end());
  };
  Session session(engine, tokenizer);
  Scheduler scheduler(engine, tokenizer);
  GenerateOptions chat;
  chat.max_tokens = 1;
  for (int i = 0; i < 4; ++i) {
    SCOPED_TRACE(i);
    states.clear();
    const Result result = i < 2 ? session.generate(prompt, options)
                                : scheduler.submit({.prompt = prompt, .options = options}).wait();
    EXPECT_EQ(result.statistics.cached_tokens, 0u);
    ASSERT_EQ(states.size(), 600u);
    for (size_t at = 0; at < 300; ++at) {
      EXPECT_EQ(states[2 * at], static_cast<float>(prompt[at]));
      EXPECT_EQ(states[2 * at + 1], static_cast<float>(at + 1));
    }
  }
  // Nobody else's prefix had to go for it, and none came of it.
  EXPECT_EQ(scheduler.submit({.prompt = prompt, .options = chat}).wait().statistics.cached_tokens, 0u);
  EXPECT_EQ(scheduler.submit({.prompt = prompt, .options = chat}).wait().statistics.cached_tokens, 256u);
}

}  // namespace
}  // namespace cairn::llm
