// Conversations with the two real models, from text to text, against transformers on the dequantised weights
// (tools/make_answer_golden.py). Models: as `cairn pull` put them.
#include <gtest/gtest.h>
#include <malloc.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/memory_pressure.hpp"
#include "llm/chat.hpp"
#include "llm/model.hpp"
#include "store/model_store.hpp"

namespace cairn::llm {
namespace {

nlohmann::json golden(const char* name) {
  std::ifstream file(CAIRN_TEST_DATA "/answers_golden.json");
  return nlohmann::json::parse(file).at(name);
}

GenerateOptions greedy() {
  GenerateOptions options;
  options.max_tokens = 24;
  options.sampler.temperature = 0;
  return options;
}

engine::Options exact() {
  engine::Options options;
  options.context = 512;
  options.precision = engine::Precision::f32;
  return options;
}

TEST(RealModelAnswers, SmolLm2ChatsAsTransformersDoes) {
  const auto model = Model::load(resolve_model("smollm2-135m"));
  Session session = model->make_session(exact());
  ChatSession chat(session, model->chat_template());
  uint32_t in_cache = 0;
  for (const auto& turn : golden("smollm2-135m")) {
    SCOPED_TRACE(turn["question"]);
    const Result result = chat.send(turn["question"].get<std::string>(), greedy());
    EXPECT_EQ(result.tokens, turn["answer"].get<std::vector<Token>>());
    EXPECT_EQ(result.text, turn["text"].get<std::string>());
    EXPECT_EQ(result.statistics.prompt_tokens, turn["prompt"].size());
    EXPECT_EQ(result.statistics.cached_tokens, in_cache);
    in_cache = static_cast<uint32_t>(session.cached().size());
  }
  EXPECT_GT(in_cache, 60u);
}

// Weights, plan and scratch are the engine's: another session has its pages, and logits.
TEST(RealModelAnswers, ASecondSessionCostsItsPages) {
  const auto model = Model::load(resolve_model("smollm2-135m"));
  const auto engine = model->make_engine({.context = 512});
  const auto in_use = [] {
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
  };
  const auto prompt = encode_prompt(*model, "Why is the sky blue?", "", false);
  Session first = model->make_session(engine);
  first.generate(prompt, greedy());
  const uint64_t pages = engine->kv_bytes();
  const size_t before = in_use();
  Session second = model->make_session(engine);
  second.generate(prompt, greedy());
  EXPECT_EQ(engine->kv_bytes(), 2 * pages);
  EXPECT_LE(in_use() - before, (size_t{8} << 20) + pages);
}

TEST(RealModelAnswers, Gemma3ContinuesAsTransformersDoes) {
  const auto model = Model::load(resolve_model("gemma3-270m"));
  Session session = model->make_session(exact());
  for (const auto& turn : golden("gemma3-270m")) {
    SCOPED_TRACE(turn["question"]);
    const auto prompt = encode_prompt(*model, turn["question"].get<std::string>(), "", false);
    EXPECT_EQ(prompt, turn["prompt"].get<std::vector<Token>>());
    const Result result = session.generate(prompt, greedy());
    EXPECT_EQ(result.tokens, turn["answer"].get<std::vector<Token>>());
    EXPECT_EQ(result.text, turn["text"].get<std::string>());
  }
}

// Threads, scratch and what was made of the weights are the engine's.
TEST(RealModelSessions, ASecondOneCostsItsPages) {
  const auto model = Model::load(resolve_model("smollm2-135m"));
  const auto engine = model->make_engine({.context = 2048});
  const std::vector<Token> prompt(600, 42);
  Session first = model->make_session(engine);
  const Result expected = first.generate(prompt, greedy());
  const uint64_t before = resident_memory(), pages = engine->kv_bytes();
  Session second = model->make_session(engine);
  EXPECT_EQ(second.generate(prompt, greedy()).tokens, expected.tokens);
  EXPECT_EQ(engine->kv_bytes(), 2 * pages);
  EXPECT_LE(resident_memory(), before + pages + (8 << 20));
}

}  // namespace
}  // namespace cairn::llm
