// What answers of OpenAI's two older APIs say besides text.
#include <gtest/gtest.h>

#include <cmath>

#include "api_fixture.hpp"

namespace cairn::server {
namespace {

// Of a logit of 10 among zeros, which is what the fake engine says; and of one of the zeros.
const double kSure = 10 - std::log(std::exp(10.0) + kVocabulary - 1), kNever = kSure - 10;

TEST(Completions, TellHowLikelyAChatsTokensWere) {
  Fixture fixture;
  const Json body =
      chat({{"logprobs", true}, {"top_logprobs", 2}, {"logit_bias", {{"122", 100}}}, {"max_tokens", 2}});
  const Json logprobs = fixture.ask("/v1/chat/completions", body).json()["choices"][0]["logprobs"];
  ASSERT_EQ(logprobs["content"].size(), 2u) << logprobs;
  EXPECT_TRUE(logprobs["refusal"].is_null());
  const Json token = logprobs["content"][0];
  EXPECT_EQ(token["token"], "z");
  EXPECT_EQ(token["bytes"], Json({'z'}));
  EXPECT_NEAR(token["logprob"].get<double>(), kNever, 1e-4);
  ASSERT_EQ(token["top_logprobs"].size(), 2u);
  EXPECT_EQ(token["top_logprobs"][0]["token"], "a");
  EXPECT_NEAR(token["top_logprobs"][0]["logprob"].get<double>(), kSure, 1e-4);

  Json streamed = Json::array();
  Json asked = body;
  asked["stream"] = true;
  for (const std::string& event : fixture.stream("/v1/chat/completions", asked)) {
    if (event == "[DONE]") break;
    const Json chunk = Json::parse(event)["choices"][0]["logprobs"];
    if (chunk.is_null()) continue;
    for (const Json& one : chunk["content"]) streamed.push_back(one);
  }
  EXPECT_EQ(streamed, logprobs["content"]);
  EXPECT_TRUE(fixture.ask("/v1/chat/completions", chat()).json()["choices"][0]["logprobs"].is_null());
}

// "é" is two tokens here, whose bytes alone are no text.
TEST(Completions, NameTokensThatAreNoTextByTheirBytes) {
  Fixture fixture({}, {}, std::make_shared<Engine>(answering("\xc3\xa9!")));
  const Json body = chat({{"logprobs", true}, {"stop", {"!"}}});
  const Json choice = fixture.ask("/v1/chat/completions", body).json()["choices"][0];
  EXPECT_EQ(choice["message"]["content"], "\xc3\xa9");
  const Json& content = choice["logprobs"]["content"];
  ASSERT_EQ(content.size(), 3u) << choice;  // the stop string's too
  EXPECT_EQ(content[0]["token"], "\\xc3");
  EXPECT_EQ(content[0]["bytes"], Json({0xc3}));
  EXPECT_EQ(content[0]["top_logprobs"], Json::array());
  const Json text =
      fixture.ask("/v1/completions", {{"prompt", "<|assistant|>"}, {"logprobs", 1}}).json()["choices"][0];
  EXPECT_EQ(text["logprobs"]["tokens"], Json({"bytes:\\xc3", "bytes:\\xa9", "!"}));
  EXPECT_EQ(text["logprobs"]["text_offset"], Json({0, 1, 1}));
}

// As evaluation harnesses ask: the prompt's own tokens, and nothing more.
TEST(Completions, EchoThePromptWithItsLogprobs) {
  Fixture fixture;
  const Json body = {{"prompt", "xabz"}, {"echo", true}, {"logprobs", 1}, {"max_tokens", 0}};
  const Json all = fixture.ask("/v1/completions", body).json();
  const Json choice = all["choices"][0];
  EXPECT_EQ(choice["text"], "xabz");
  EXPECT_EQ(choice["finish_reason"], "length");
  const Json& logprobs = choice["logprobs"];
  EXPECT_EQ(logprobs["tokens"], Json({"<s>", "x", "a", "b", "z"}));
  EXPECT_EQ(logprobs["text_offset"], Json({0, 0, 1, 2, 3}));
  ASSERT_EQ(logprobs["token_logprobs"].size(), 5u);
  EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
  EXPECT_TRUE(logprobs["top_logprobs"][0].is_null());
  const double expected[] = {0, kNever, kSure, kSure, kNever};
  for (size_t i = 1; i < 5; ++i)
    EXPECT_NEAR(logprobs["token_logprobs"][i].get<double>(), expected[i], 1e-4) << i;
  EXPECT_NEAR(logprobs["top_logprobs"][4]["c"].get<double>(), kSure, 1e-4);
  EXPECT_NEAR(logprobs["top_logprobs"][4]["z"].get<double>(), kNever, 1e-4);  // the chosen one is added
  EXPECT_EQ(all["usage"]["completion_tokens"], 0);

  const Json more = {{"prompt", "xab"}, {"echo", true}, {"stream", true}, {"max_tokens", 2}};
  std::string text;
  for (const std::string& event : fixture.stream("/v1/completions", more)) {
    if (event != "[DONE]") text += Json::parse(event)["choices"][0]["text"];
  }
  EXPECT_EQ(text, "xabcd");
}

TEST(Completions, TellReasoningApart) {
  constexpr const char* kReasons =
      "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}<|assistant|>{% if think is defined "
      "%}<think>\n"
      "{% endif %}{# </think> #}";
  Fixture fixture({}, {}, std::make_shared<Engine>(answering("<think>\nHm.\n</think>\n\nTwo.")), kReasons);
  const Json all = fixture.ask("/v1/chat/completions", chat()).json();
  EXPECT_EQ(all["choices"][0]["message"]["reasoning_content"], "Hm.");
  EXPECT_EQ(all["choices"][0]["message"]["content"], "Two.");
  EXPECT_EQ(all["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(all["usage"]["completion_tokens_details"]["reasoning_tokens"],
            13);  // from the first mark into the last

  std::string reasoning, content;
  for (const std::string& event : fixture.stream("/v1/chat/completions", chat({{"stream", true}}))) {
    if (event == "[DONE]") break;
    const Json delta = Json::parse(event)["choices"][0]["delta"];
    reasoning += delta.value("reasoning_content", "");
    content += delta.value("content", "");
  }
  EXPECT_EQ(reasoning, "Hm.");
  EXPECT_EQ(content, "Two.");

  // A prompt that opens it: all is reasoning until it ends.
  const Json opened =
      fixture.ask("/v1/chat/completions", chat({{"chat_template_kwargs", {{"think", true}}}})).json();
  EXPECT_EQ(opened["choices"][0]["message"]["content"], "Two.") << opened;
}

}  // namespace
}  // namespace cairn::server
