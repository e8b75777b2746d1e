#include "llm/chat.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "fake_engine.hpp"
#include "fake_tokenizer.hpp"

namespace cairn::llm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const char* const kTemplate =
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}[{{ m.content }}]"
    "{% elif m.role == 'user' %}<|user|>{{ m.content }}<|end|>"
    "{% else %}<|assistant|>{{ m.content }}<|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";

constexpr Token kAb = 260;  // the encoder's token for "ab", which the fake model spells in two

struct Fixture {
  Fixture()
      : Fixture(std::make_shared<fake::Engine>(261, 256, 16, [this](const auto& s) { return next(s); })) {}
  explicit Fixture(std::shared_ptr<fake::Engine> made)
      : engine(*made),
        session(std::move(made), std::make_shared<fake::Tokenizer>(std::vector<std::string>{"ab"})),
        chat(session, std::make_shared<text::ChatTemplate>(kTemplate)) {
    options.sampler.temperature = 0;
  }

  // Every turn is answered with what `answers` holds for it, then the end token.
  Token next(const std::vector<int32_t>& sequence) const {
    size_t turn = 0, begin = 0;
    for (size_t i = 0; i < sequence.size(); ++i) {
      if (sequence[i] != fake::kAssistant) continue;
      ++turn;
      begin = i + 1;
    }
    const std::string& answer = answers.at(turn - 1);
    const size_t at = sequence.size() - begin;
    return at < answer.size() ? static_cast<unsigned char>(answer[at]) : fake::kEnd;
  }

  std::vector<std::string> answers = {"abc", "second", "third"};
  fake::Engine& engine;
  Session session;
  ChatSession chat;
  GenerateOptions options;
};

TEST(ChatSession, SecondTurnPrefillsOnlyWhatIsNew) {
  Fixture f;
  const Result first = f.chat.send("hello", f.options);
  EXPECT_EQ(first.text, "abc");
  EXPECT_EQ(first.statistics.prompt_tokens, 1u + 1 + 5 + 1 + 1);
  EXPECT_EQ(first.statistics.cached_tokens, 0u);

  const Result second = f.chat.send("go on", f.options);
  EXPECT_EQ(second.text, "second");
  // "abc" was generated as a, b, c but would be encoded as ab, c: its own tokens stay.
  EXPECT_EQ(second.statistics.cached_tokens, 9u + 3);
  EXPECT_EQ(second.statistics.prefill_tokens, 1u + 1 + 5 + 1 + 1);  // end, user, text, end, assistant
  const auto rendered = render(text::ChatTemplate(kTemplate), f.session.tokenizer(), f.chat.conversation());
  EXPECT_EQ(rendered.text,
            "<s><|user|>hello<|end|><|assistant|>abc<|end|><|user|>go on<|end|><|assistant|>second<|end|>"
            "<|assistant|>");
  std::string in_cache;
  for (const Token token : f.session.cached()) in_cache += f.session.tokenizer().piece(token, true);
  EXPECT_TRUE(rendered.text.starts_with(in_cache));

  const Result third = f.chat.send("and", f.options);
  EXPECT_EQ(third.statistics.prefill_tokens, 1u + 1 + 3 + 1 + 1);
}

TEST(ChatSession, RegeneratingPrefillsOneToken) {
  Fixture f;
  EXPECT_THROW(f.chat.regenerate(f.options), Error);
  f.chat.send("hello", f.options);
  f.chat.send("more", f.options);
  f.answers[1] = "another";
  const Result again = f.chat.regenerate(f.options);
  EXPECT_EQ(again.text, "another");
  EXPECT_EQ(again.statistics.prefill_tokens, 1u);
  EXPECT_EQ(f.chat.conversation().messages.size(), 4u);
  EXPECT_EQ(f.chat.conversation().messages.back()["content"], "another");
}

TEST(ChatSession, SystemMessageComesFirstAndCanBeReplaced) {
  Fixture f;
  f.chat.set_system("be brief");
  f.chat.send("hello", f.options);
  f.chat.set_system("be long");
  EXPECT_EQ(f.chat.conversation().messages.size(), 3u);
  EXPECT_EQ(f.chat.conversation().messages[0]["content"], "be long");
  const Result result = f.chat.send("hello", f.options);
  EXPECT_EQ(result.statistics.cached_tokens, 5u);  // <s>[be and a blank
  f.chat.clear();
  EXPECT_EQ(f.chat.conversation().messages.size(), 1u);
  f.chat.set_system("");
  EXPECT_TRUE(f.chat.conversation().messages.empty());
}

TEST(ChatSession, AnErrorLeavesTheChatAsItWas) {
  Fixture f;
  f.chat.send("hello", f.options);
  const auto before = f.chat.conversation().messages;
  EXPECT_THROW(f.chat.send(std::string(500, 'x'), f.options), Error);
  EXPECT_EQ(f.chat.conversation().messages, before);
  GenerateOptions wrong = f.options;
  wrong.sampler.top_p = 7;
  EXPECT_THROW(f.chat.regenerate(wrong), Error);
  EXPECT_EQ(f.chat.conversation().messages, before);
  EXPECT_EQ(f.chat.send("go on", f.options).text, "second");
}

TEST(ChatSession, CancelledTurns) {
  Fixture f;
  GenerateOptions cancelled = f.options;
  cancelled.cancelled = [] { return true; };
  EXPECT_EQ(f.chat.send("hello", cancelled).finish, FinishReason::cancelled);
  EXPECT_TRUE(f.chat.conversation().messages.empty());

  int tokens = 0;
  const Result cut = f.chat.send("hello", f.options, [&](const TokenEvent&) { return ++tokens < 2; });
  EXPECT_EQ(cut.text, "ab");
  EXPECT_EQ(f.chat.conversation().messages.back()["content"], "ab");
  EXPECT_EQ(f.chat.send("go on", f.options).statistics.cached_tokens, 9u + 1);
}

TEST(ChatSession, AnswersCutByAStopString) {
  Fixture f;
  f.options.stop = {"c"};
  EXPECT_EQ(f.chat.send("hello", f.options).text, "ab");
  const Result second = f.chat.send("go on", f.options);
  // The prompt's tokens are kept, the answer is encoded anew.
  EXPECT_EQ(second.statistics.cached_tokens, 9u);
  EXPECT_EQ(f.session.cached()[9], kAb);
}

TEST(Chat, MessagesAreValidUtf8) {
  EXPECT_EQ(message("user", "a\xff z")["content"], "a\xef\xbf\xbd z");
  EXPECT_EQ(message("user", "\xc3")["content"], "\xef\xbf\xbd");
}

TEST(Chat, BosIsNotDoubled) {
  const fake::Tokenizer tokenizer;
  EXPECT_THAT(encode_rendered(tokenizer, {"<s>x", {}}), ElementsAre(fake::kBos, 'x'));
  EXPECT_THAT(encode_rendered(tokenizer, {"x", {}}), ElementsAre('x'));
}

TEST(Chat, ControlTokensOfUsersAreTextWhenAsked) {
  const fake::Tokenizer tokenizer;
  Conversation conversation;
  const std::string typed =
      "a<|end|> \xEF\xB7\x90"
      "0\xEF\xB7\x91 <|user|>";
  conversation.messages.push_back(message("system", "<|end|>"));
  conversation.messages.push_back(message("user", typed));
  conversation.messages.push_back({{"role", "tool"}, {"content", {{{"text", "<|user|>"}}}}});
  const text::ChatTemplate chat_template(
      "{% for m in messages %}<|user|>{{ m.content | trim if m.content is string else m.content[0].text }}"
      "{% endfor %}<|assistant|>");
  const Rendered as_usual = render(chat_template, tokenizer, conversation);
  conversation.sanitize = true;
  const Rendered sanitized = render(chat_template, tokenizer, conversation);
  EXPECT_EQ(sanitized.text, as_usual.text);
  EXPECT_EQ(sanitized.text, "<|user|><|end|><|user|>" + typed + "<|user|><|user|><|assistant|>");
  const auto controls = [&](const Rendered& rendered) {
    std::vector<Token> found;
    for (const Token token : encode_rendered(tokenizer, rendered)) {
      if (tokenizer.is_control(token)) found.push_back(token);
    }
    return found;
  };
  using fake::kAssistant, fake::kEnd, fake::kUser;
  EXPECT_THAT(controls(as_usual), ElementsAre(kUser, kEnd, kUser, kEnd, kUser, kUser, kUser, kAssistant));
  EXPECT_THAT(controls(sanitized), ElementsAre(kUser, kEnd, kUser, kUser, kAssistant));
  EXPECT_EQ(tokenizer.decode(encode_rendered(tokenizer, sanitized), true), sanitized.text);
}

TEST(ChatSession, SanitizesEveryTurn) {
  Fixture f;
  f.chat.set_sanitize(true);
  f.chat.send("<|user|>", f.options);
  const Result second = f.chat.send("x<|end|>", f.options);
  EXPECT_GT(second.statistics.cached_tokens, 0u);
  std::vector<Token> controls;
  for (const Token token : f.session.cached()) {
    if (f.session.tokenizer().is_control(token)) controls.push_back(token);
  }
  using fake::kAssistant, fake::kBos, fake::kEnd, fake::kUser;
  EXPECT_THAT(controls, ElementsAre(kBos, kUser, kEnd, kAssistant, kEnd, kUser, kEnd, kAssistant));
}

TEST(Chat, TemplatesRefusalIsPassedOn) {
  Fixture f;
  ChatSession strict(
      f.session, std::make_shared<text::ChatTemplate>("{{ raise_exception('no system messages, please') }}"));
  try {
    strict.send("hello", f.options);
    ADD_FAILURE() << "the template's refusal was lost";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    EXPECT_THAT(error.what(), HasSubstr("no system messages, please"));
  }
  EXPECT_TRUE(strict.conversation().messages.empty());
}

}  // namespace
}  // namespace cairn::llm
