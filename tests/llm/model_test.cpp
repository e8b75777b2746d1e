#include "llm/model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/error.hpp"
#include "llm/chat.hpp"
#include "tiny_model.hpp"

namespace cairn::llm {
namespace {

using testing::HasSubstr;

class ModelTest : public testing::Test {
 protected:
  std::shared_ptr<const Model> make(const TinyModel& tiny = {}, const ModelOptions& options = {}) {
    write_tiny_model(folder_.file("tiny.gguf"), tiny);
    return Model::load(folder_.file("tiny.gguf"), options);
  }

  static engine::Options engine_options() {
    engine::Options options;
    options.context = 0;
    options.threads = 1;
    options.chunk = 16;
    return options;
  }

  static GenerateOptions greedy(uint32_t tokens) {
    GenerateOptions options;
    options.max_tokens = tokens;
    options.sampler.temperature = 0;
    options.ignore_end = true;
    return options;
  }

  TestFolder folder_;
};

TEST_F(ModelTest, ContextIsWhatTheModelWasTrainedForUnlessAsked) {
  const auto model = make();
  EXPECT_EQ(model->make_engine(engine_options())->context(), 256u);
  auto options = engine_options();
  options.context = 32;
  EXPECT_EQ(model->make_engine(options)->context(), 32u);
}

TEST_F(ModelTest, SessionsOutliveTheModel) {
  auto model = make();
  Session session = model->make_session(engine_options());
  const auto prompt = encode_prompt(*model, "hello", "", true);
  model.reset();
  EXPECT_EQ(session.generate(prompt, greedy(5)).tokens.size(), 5u);
}

// The cache's prefix against a cache filled from nothing: the same tokens, in every mode of the cache. In
// float, because one token alone and a chunk of them are rounded to 8 bits differently.
TEST_F(ModelTest, ReusedPrefixesGiveTheSameAnswers) {
  const auto model = make();
  for (const auto kv : {engine::KvType::f16, engine::KvType::i8}) {
    auto options = engine_options();
    options.kv = kv;
    options.precision = engine::Precision::f32;
    Session session = model->make_session(options);
    for (const char* prompt : {"The quick brown fox jumps over the lazy dog", "The quick brown fox sleeps",
                               "The quick brown fox sleeps until the sun is up again", "The"}) {
      const auto tokens = encode_prompt(*model, prompt, "", true);
      const Result reused = session.generate(tokens, greedy(24));
      Session fresh = model->make_session(options);
      EXPECT_EQ(reused.tokens, fresh.generate(tokens, greedy(24)).tokens) << prompt;
    }
  }
}

TEST_F(ModelTest, ChatsSecondTurnPrefillsOnlyWhatIsNew) {
  const auto model = make();
  Session session = model->make_session(engine_options());
  ChatSession chat(session, model->chat_template(), "be kind");
  GenerateOptions options = greedy(12);
  options.ignore_end = false;
  const Result first = chat.send("hello there", options);
  EXPECT_EQ(first.statistics.cached_tokens, 0u);
  const auto before = static_cast<uint32_t>(session.cached().size());
  const Result second = chat.send("and now?", options);
  // Gibberish may end in half a character; then only the answer is read again.
  EXPECT_GE(second.statistics.cached_tokens, first.statistics.prompt_tokens);
  EXPECT_LE(second.statistics.cached_tokens, before);
}

TEST_F(ModelTest, PromptsUseTheTemplateIfThereIsOne) {
  const auto model = make();
  const auto chat = encode_prompt(*model, "hi", "sys", false);
  EXPECT_EQ(model->tokenizer()->decode(chat, true),
            "<|im_start|>system\nsys<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
  const auto raw = encode_prompt(*model, "hi", "", true);
  EXPECT_EQ(model->tokenizer()->decode(raw, true), "hi");
  EXPECT_THROW(encode_prompt(*model, "hi", "sys", true), Error);

  ModelOptions options;
  options.chat_template = "Q: {{ messages[0].content }}\nA:";
  const auto other = make({}, options);
  EXPECT_EQ(other->tokenizer()->decode(encode_prompt(*other, "hi", "", false), true), "Q: hi\nA:");
}

TEST_F(ModelTest, ConversationsWithToolsUseTheirOwnTemplate) {
  const Conversation conversation{{message("user", "hi")}, {{"tools", {"clock"}}}};
  const auto text = [&](const Model& model, std::string_view variant) {
    return render(*model.chat_template(variant), *model.tokenizer(), conversation).text;
  };
  const TinyModel tiny{.chat_template = "plain", .tool_template = "tools: {{ tools[0] }}"};
  const auto model = make(tiny);
  EXPECT_EQ(text(*model, ""), "plain");
  EXPECT_EQ(text(*model, "tool_use"), "tools: clock");
  EXPECT_EQ(text(*model, "rag"), "plain");
  EXPECT_EQ(model->chat_template("tool_use"), model->chat_template("tool_use"));  // parsed once
  ModelOptions options;
  options.chat_template = "given";
  EXPECT_EQ(text(*make(tiny, options), "tool_use"), "given");
}

// A vocabulary with a chat's marks tells how to chat with it, though not that it is meant for chats.
TEST_F(ModelTest, BaseModelsWithTheMarksOfChatsCanBeMadeToChat) {
  const auto model = make({.chat_template = ""});
  EXPECT_FALSE(model->has_chat_template());
  const auto decoded = [&](std::string_view system) {
    return model->tokenizer()->decode(encode_prompt(*model, "Once", system, false), true);
  };
  EXPECT_EQ(decoded(""), "Once");
  EXPECT_EQ(decoded("sys"),
            "<|im_start|>system\nsys<|im_end|>\n<|im_start|>user\nOnce<|im_end|>\n<|im_start|>assistant\n");
}

TEST_F(ModelTest, BaseModelsContinueTheText) {
  const auto model = make({.chat_template = "", .control = {"<s>", "</s>"}});
  EXPECT_FALSE(model->has_chat_template());
  EXPECT_EQ(model->tokenizer()->decode(encode_prompt(*model, "Once", "", false)), "Once");
  EXPECT_THROW(encode_prompt(*model, "hi", "sys", false), Error);
  EXPECT_THROW(encode_prompt(*model, "hi", "sys", true), Error);
  try {
    model->chat_template();
    ADD_FAILURE() << "a base model has no template";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("tiny.gguf: the model has no chat template"));
  }
}

TEST_F(ModelTest, EmptyPrompts) {
  const auto without = make({.chat_template = "", .bos = false});
  Session session = without->make_session(engine_options());
  EXPECT_THROW(session.generate(encode_prompt(*without, "", "", false), greedy(3)), Error);
  const auto with = make({.chat_template = "", .bos = true});
  Session other = with->make_session(engine_options());
  EXPECT_EQ(other.generate(encode_prompt(*with, "", "", false), greedy(3)).tokens.size(), 3u);
}

TEST_F(ModelTest, PoisonInAWeightIsReportedWithItsPosition) {
  for (const auto& [tensor, poison] : std::vector<std::pair<std::string, float>>{
           {"output.weight", std::numeric_limits<float>::quiet_NaN()},
           {"output_norm.weight", std::numeric_limits<float>::infinity()},
       }) {
    const auto model = make({.poisoned = tensor, .poison = poison});
    Session session = model->make_session(engine_options());
    try {
      session.generate(std::vector<Token>{5, 6, 7}, greedy(3));
      ADD_FAILURE() << "what is no number went unnoticed in " << tensor;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::numeric);
      EXPECT_THAT(error.what(), HasSubstr("position 2"));
    }
  }
}

TEST_F(ModelTest, TokenizerOnDemandIsTheSame) {
  ModelOptions options;
  options.tokenizer_ahead = false;
  const auto model = make({}, options);
  EXPECT_EQ(model->tokenizer()->decode(model->tokenizer()->encode("on demand")), "on demand");
}

TEST_F(ModelTest, MissingFile) {
  EXPECT_THROW(Model::load(folder_.file("none.gguf")), Error);
}

}  // namespace
}  // namespace cairn::llm
