#include "llm/session.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/error.hpp"
#include "fake_engine.hpp"
#include "fake_tokenizer.hpp"

namespace cairn::llm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint32_t kVocabulary = 300;

// A hash of all tokens so far: any token missing from or left over in the cache changes every later answer.
int32_t hashed(const std::vector<int32_t>& sequence) {
  uint32_t hash = 2166136261u;
  for (const int32_t token : sequence) hash = (hash ^ static_cast<uint32_t>(token)) * 16777619u;
  return static_cast<int32_t>('a' + (hash >> 8) % 26);
}

// Continues any prompt of the given size with these tokens, then with end tokens.
fake::Engine::Next scripted(size_t prompt, std::vector<Token> script) {
  return [prompt, script](const std::vector<int32_t>& sequence) {
    const size_t at = sequence.size() - prompt;
    return at < script.size() ? script[at] : fake::kEnd;
  };
}

std::vector<Token> bytes(std::string_view text) {
  std::vector<Token> tokens;
  for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
  return tokens;
}

GenerateOptions greedy(uint32_t max_tokens = 1000) {
  GenerateOptions options;
  options.max_tokens = max_tokens;
  options.sampler.temperature = 0;
  return options;
}

struct Fixture {
  explicit Fixture(fake::Engine::Next next, uint32_t context = 64, uint32_t chunk = 8, bool bos = true)
      : Fixture(std::make_shared<fake::Engine>(kVocabulary, context, chunk, std::move(next)), bos) {}
  Fixture(std::shared_ptr<fake::Engine> made, bool bos)
      : engine(*made),
        session(std::move(made),
                std::make_shared<fake::Tokenizer>(std::vector<std::string>(kVocabulary - 260, "xy"), bos)) {}

  fake::Engine& engine;
  Session session;
};

TEST(Session, PrefillsInChunksThenOneTokenAtATime) {
  Fixture f(hashed);
  std::vector<std::pair<uint32_t, uint32_t>> progress;
  GenerateOptions options = greedy(3);
  options.progress = [&](uint32_t done, uint32_t total) { progress.emplace_back(done, total); };
  const auto prompt = bytes("nineteen characters");
  const Result result = f.session.generate(prompt, options);
  EXPECT_THAT(f.engine.passes, ElementsAre(8, 8, 3, 1, 1));
  EXPECT_THAT(progress, ElementsAre(std::pair(8, 19), std::pair(16, 19), std::pair(19, 19)));
  EXPECT_EQ(result.finish, FinishReason::length);
  EXPECT_EQ(result.statistics.prompt_tokens, 19u);
  EXPECT_EQ(result.statistics.cached_tokens, 0u);
  EXPECT_EQ(result.statistics.prefill_tokens, 19u);
  EXPECT_EQ(result.statistics.decode_tokens, 2u);
  EXPECT_GT(result.statistics.prefill_rate(), 0);
  EXPECT_GT(result.statistics.decode_rate(), 0);
  EXPECT_GT(result.statistics.first_token_seconds, 0);

  std::vector<Token> sequence = prompt;
  std::string text;
  for (int i = 0; i < 3; ++i) {
    sequence.push_back(hashed(sequence));
    text += static_cast<char>(sequence.back());
  }
  EXPECT_EQ(result.text, text);
  EXPECT_EQ(result.tokens, bytes(text));
}

TEST(Session, ForwardsOnlyWhatThePromptDoesNotShare) {
  Fixture f(hashed);
  const auto check = [&](std::string_view prompt, uint32_t cached) {
    SCOPED_TRACE(prompt);
    const uint32_t before = f.engine.forwarded();
    const Result result = f.session.generate(bytes(prompt), greedy(4));
    EXPECT_EQ(result.statistics.cached_tokens, cached);
    EXPECT_EQ(f.engine.forwarded() - before, prompt.size() - cached + 3);
    Fixture fresh(hashed);
    EXPECT_EQ(result.text, fresh.session.generate(bytes(prompt), greedy(4)).text);
    EXPECT_EQ(f.session.cached(), f.engine.sequence());
    return result.text;
  };
  const std::string first = check("the same beginning", 0);
  // The answer's last token was never forwarded; its others are in the cache.
  check("the same beginning" + first + " and on", 18 + 3);
  check("the same ending", 9);
  check("the same ending", 14);  // all but one: its logits are needed
  check("the", 2);
  check("other", 0);
  f.session.clear();
  check("other", 0);
}

TEST(Session, StopsAtEndTokensUnlessTold) {
  Fixture f(scripted(2, {'H', 'i', fake::kEnd, '!', fake::kEnd}));
  const Result result = f.session.generate(bytes("p:"), greedy());
  EXPECT_EQ(result.text, "Hi");
  EXPECT_EQ(result.finish, FinishReason::stop);
  EXPECT_EQ(result.stop, "");
  EXPECT_THAT(result.tokens, ElementsAre('H', 'i'));

  GenerateOptions options = greedy(6);
  options.ignore_end = true;
  const Result longer = f.session.generate(bytes("p:"), options);
  EXPECT_EQ(longer.text, "Hi!");
  EXPECT_THAT(longer.tokens, ElementsAre('H', 'i', fake::kEnd, '!', fake::kEnd, fake::kEnd));
  EXPECT_EQ(longer.finish, FinishReason::length);
}

TEST(Session, StopStringsAcrossTokens) {
  GenerateOptions options = greedy();
  options.stop = {"stop", "xyxyz"};
  std::string streamed;
  const auto collect = [&](const TokenEvent& event) {
    streamed += event.text;
    EXPECT_EQ(streamed.find("sto"), std::string::npos);
    return true;
  };
  Fixture f(scripted(1, bytes("do not stop here")));
  const Result result = f.session.generate(bytes("p"), options, collect);
  EXPECT_EQ(result.text, "do not ");
  EXPECT_EQ(streamed, "do not ");
  EXPECT_EQ(result.finish, FinishReason::stop);
  EXPECT_EQ(result.stop, "stop");
  EXPECT_EQ(result.tokens, bytes("do not stop"));

  std::vector<Token> script = {'a', 270, 270, 'z', 'b'};  // token 270 is "xy"
  Fixture g(scripted(1, script));
  EXPECT_EQ(g.session.generate(bytes("p"), options).text, "a");
}

TEST(Session, StopsAtAControlTokenByItsText) {
  GenerateOptions options = greedy();
  options.stop = {"<|user|>", "<|end|>"};
  Fixture f(scripted(1, {'H', 'i', fake::kUser, 'x'}));
  const Result result = f.session.generate(bytes("p"), options);
  EXPECT_EQ(result.text, "Hi");
  EXPECT_EQ(result.finish, FinishReason::stop);
  EXPECT_EQ(result.stop, "<|user|>");
  options.ignore_end = true;
  Fixture g(scripted(1, {'H', 'i', fake::kEnd, 'x'}));
  EXPECT_EQ(g.session.generate(bytes("p"), options).stop, "<|end|>");
}

TEST(Session, HandsOutWhatWasHeldBackAtTheEnd) {
  GenerateOptions options = greedy();
  options.stop = {"stop"};
  std::vector<std::pair<Token, std::string>> events;
  const auto collect = [&](const TokenEvent& event) {
    events.emplace_back(event.token, event.text);
    return true;
  };
  Fixture f(scripted(1, bytes("asto\xc3")));
  const Result result = f.session.generate(bytes("p"), options, collect);
  EXPECT_EQ(result.text, "asto\xef\xbf\xbd");
  EXPECT_THAT(events, ElementsAre(std::pair('a', "a"), std::pair('s', ""), std::pair('t', ""),
                                  std::pair('o', ""), std::pair(0xc3, ""), std::pair(-1, "sto\xef\xbf\xbd")));
}

TEST(Session, StreamsWholeCharacters) {
  Fixture f(scripted(1, bytes("\xe2\x82\xac\xf0\x9f\x98\x80.")));
  std::vector<std::string> texts;
  f.session.generate(bytes("p"), greedy(), [&](const TokenEvent& event) {
    if (!event.text.empty()) texts.emplace_back(event.text);
    return true;
  });
  EXPECT_THAT(texts, ElementsAre("\xe2\x82\xac", "\xf0\x9f\x98\x80", "."));
}

TEST(Session, CancelsBetweenChunks) {
  Fixture f(hashed);
  GenerateOptions options = greedy(5);
  int asked = 0;
  options.cancelled = [&] { return ++asked == 3; };
  const auto prompt = bytes("forty characters of a prompt in chunks..");
  const Result result = f.session.generate(prompt, options);
  EXPECT_EQ(result.finish, FinishReason::cancelled);
  EXPECT_EQ(result.text, "");
  EXPECT_THAT(f.engine.passes, ElementsAre(8, 8));
  // What was done is not lost.
  EXPECT_EQ(f.session.generate(prompt, greedy(5)).statistics.cached_tokens, 16u);
}

TEST(Session, CancelsWithinAChunk) {
  Fixture f(hashed);
  const auto prompt = bytes("forty characters of a prompt in chunks..");
  const Result whole = Fixture(hashed).session.generate(prompt, greedy(5));
  f.engine.cancels = true;
  GenerateOptions options = greedy(5);
  options.cancelled = [&] { return f.engine.sequence().size() == 19; };
  const Result result = f.session.generate(prompt, options);
  EXPECT_EQ(result.finish, FinishReason::cancelled);
  EXPECT_EQ(result.statistics.prefill_tokens, 16u);
  EXPECT_EQ(f.session.cached().size(), 16u);
  // The session goes on from the last whole chunk, and the engine asks nobody any more.
  const Result again = f.session.generate(prompt, greedy(5));
  EXPECT_EQ(again.statistics.cached_tokens, 16u);
  EXPECT_EQ(again.tokens, whole.tokens);
}

TEST(Session, CancelsBetweenTokensAndKeepsTheText) {
  Fixture f(scripted(1, bytes("a long answer")));
  GenerateOptions options = greedy();
  options.stop = {"ng!"};
  std::string streamed;
  options.cancelled = [&] { return streamed == "a lo"; };  // "n" is held back then
  const auto collect = [&](const TokenEvent& event) {
    streamed += event.text;
    return true;
  };
  const Result result = f.session.generate(bytes("p"), options, collect);
  EXPECT_EQ(result.finish, FinishReason::cancelled);
  EXPECT_EQ(result.text, "a lo");
  EXPECT_EQ(streamed, "a lo");
}

TEST(Session, CallbackStops) {
  Fixture f(scripted(1, bytes("a long answer")));
  int calls = 0;
  const Result result =
      f.session.generate(bytes("p"), greedy(), [&](const TokenEvent&) { return ++calls < 3; });
  EXPECT_EQ(result.finish, FinishReason::cancelled);
  EXPECT_EQ(result.text, "a l");
  EXPECT_EQ(calls, 3);
}

TEST(Session, FullContextIsLength) {
  Fixture f(hashed, 10, 4);
  const Result result = f.session.generate(bytes("seven.."), greedy());
  EXPECT_EQ(result.finish, FinishReason::length);
  EXPECT_EQ(result.tokens.size(), 4u);  // positions 7, 8, 9 are filled by three of them
  EXPECT_EQ(f.engine.sequence().size(), 10u);
  EXPECT_EQ(f.session.generate(bytes("exactly 10"), greedy()).tokens.size(), 1u);
}

TEST(Session, NoTokensWanted) {
  Fixture f(hashed);
  const Result result = f.session.generate(bytes("only prefill"), greedy(0));
  EXPECT_TRUE(result.tokens.empty());
  EXPECT_EQ(result.finish, FinishReason::length);
  EXPECT_EQ(f.session.cached().size(), 12u);
}

template <class Body>
void expect_error(ErrorCode code, const std::vector<const char*>& parts, const Body& body) {
  try {
    body();
    ADD_FAILURE() << "no error that says " << parts.front();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code);
    for (const char* part : parts) EXPECT_THAT(error.what(), HasSubstr(part));
  }
}

TEST(Session, PromptBeyondTheContextNamesBothNumbers) {
  Fixture f(hashed, 10, 4);
  expect_error(ErrorCode::invalid_argument, {"11 tokens", "context holds 10"},
               [&] { f.session.generate(bytes("eleven char"), greedy()); });
  EXPECT_TRUE(f.engine.passes.empty());
}

TEST(Session, EmptyPromptIsBosOrAnError) {
  Fixture f(scripted(1, {'x'}));
  EXPECT_EQ(f.session.generate({}, greedy()).text, "x");
  EXPECT_THAT(f.session.cached(), ElementsAre(fake::kBos, 'x'));

  Fixture without(hashed, 64, 8, false);
  expect_error(ErrorCode::invalid_argument, {"empty", "BOS"},
               [&] { without.session.generate({}, greedy()); });
}

TEST(Session, RefusesTokensOutsideTheVocabulary) {
  Fixture f(hashed);
  for (const Token token : {-1, static_cast<int>(kVocabulary)}) {
    expect_error(ErrorCode::invalid_argument, {"position 1", "vocabulary of 300"}, [&] {
      f.session.generate(std::vector<Token>{'a', token}, greedy());
    });
  }
}

TEST(Session, NanInLogitsNamesThePosition) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Fixture f(hashed);
    const auto prompt = bytes("prompt");
    f.engine.on_logits = [&](float* logits) {
      if (f.engine.sequence().size() == 8) logits[123] = bad;
    };
    expect_error(ErrorCode::numeric, {"token 123", "position 7"},
                 [&] { f.session.generate(prompt, greedy()); });
    // The session is as good as before: what it knows is what the cache holds.
    f.engine.on_logits = nullptr;
    const Result result = f.session.generate(prompt, greedy(4));
    Fixture fresh(hashed);
    EXPECT_EQ(result.text, fresh.session.generate(prompt, greedy(4)).text);
  }
}

TEST(Session, SurvivesExceptionsFromBelowAndAbove) {
  Fixture f(hashed);
  const auto prompt = bytes("a prompt of three chunks");
  f.engine.on_token = [](const std::vector<int32_t>& sequence) {
    if (sequence.size() == 12) throw std::runtime_error("device lost");
  };
  EXPECT_THROW(f.session.generate(prompt, greedy(4)), std::runtime_error);
  f.engine.on_token = nullptr;
  EXPECT_THROW(f.session.generate(prompt, greedy(4), [](const TokenEvent&) -> bool { throw 1; }), int);
  Fixture fresh(hashed);
  EXPECT_EQ(f.session.generate(prompt, greedy(4)).text, fresh.session.generate(prompt, greedy(4)).text);
}

TEST(Session, UsesTheSampler) {
  Fixture f(scripted(1, bytes("aaaaaaaa")));
  GenerateOptions options = greedy(3);
  options.sampler.logit_bias = {{'a', -20.0f}, {'b', 1.0f}};
  EXPECT_EQ(f.session.generate(bytes("p"), options).text, "bbb");
  options.sampler = {};
  options.sampler.top_p = 0;
  EXPECT_THROW(f.session.generate(bytes("p"), options), Error);
}

TEST(Session, RepetitionPenaltySeesPromptAndAnswer) {
  Fixture f(scripted(1, bytes("pppp")));
  GenerateOptions options = greedy(2);
  options.sampler.presence_penalty = 11;  // the fake's favourite is ahead by 10
  const Result result = f.session.generate(bytes("p"), options);
  EXPECT_THAT(result.tokens, ElementsAre(0, 1));
}

}  // namespace
}  // namespace cairn::llm
