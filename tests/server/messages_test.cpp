// Anthropic's API, over HTTP; tests/server/anthropic_client.py asks with its real client.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api_fixture.hpp"
#include "server/messages_request.hpp"

namespace cairn::server {
namespace {

using testing::HasSubstr;

Json messages(Json more = Json::object()) {
  Json body = chat({{"max_tokens", 100}});
  body.update(more);
  return body;
}

TEST(Messages, AreAnswered) {
  Fixture fixture;
  const Response response = fixture.ask("/v1/messages", messages({{"metadata", {{"user_id", "me"}}}}));
  ASSERT_EQ(response.status, 200) << response.body;
  Json answer = response.json();
  EXPECT_TRUE(answer["id"].get<std::string>().starts_with("msg_"));
  answer.erase("id");
  EXPECT_EQ(nlohmann::json(answer),
            nlohmann::json({{"type", "message"},
                            {"role", "assistant"},
                            {"model", "tiny"},
                            {"content", {{{"type", "text"}, {"text", "abcdef"}}}},
                            {"stop_reason", "end_turn"},
                            {"stop_sequence", nullptr},
                            {"usage",
                             {{"input_tokens", 4},
                              {"cache_creation_input_tokens", 0},
                              {"cache_read_input_tokens", 0},
                              {"output_tokens", 6},
                              {"output_tokens_details", {{"thinking_tokens", 0}}}}}}));
  EXPECT_EQ(fixture.ask("/v1/messages", messages({{"max_tokens", 2}})).json()["stop_reason"], "max_tokens");
  const Json stopped = fixture.ask("/v1/messages", messages({{"stop_sequences", {"cd"}}})).json();
  EXPECT_EQ(stopped["stop_reason"], "stop_sequence");
  EXPECT_EQ(stopped["stop_sequence"], "cd");
  EXPECT_EQ(stopped["content"][0]["text"], "ab");
}

TEST(Messages, AreStreamed) {
  const std::string reasons = std::string(kTemplate) + "{# </think> #}";
  Fixture fixture({}, {}, std::make_shared<Engine>(answering("<think>Hm</think>Yes")), reasons);
  Client client(fixture.port());
  client.request("POST", "/v1/messages", messages({{"stream", true}}).dump());
  EXPECT_EQ(client.read(false).headers.at("content-type"), "text/event-stream");
  std::vector<std::string> order;
  std::string thinking, text;
  Json last;
  for (std::string name; !(name = client.read_named_event(last)).empty();) {
    EXPECT_EQ(last["type"], name);
    if (name == "content_block_delta") {
      thinking += last["delta"].value("thinking", "");
      text += last["delta"].value("text", "");
      name = last["delta"]["type"];
    } else if (name == "message_start") {
      EXPECT_EQ(last["message"]["content"], Json::array());
      EXPECT_EQ(last["message"]["usage"]["input_tokens"], 4);
    } else if (name == "content_block_start") {
      name += " " + last["content_block"]["type"].get<std::string>() + " " + last["index"].dump();
    } else if (name == "message_delta") {
      EXPECT_EQ(last["delta"]["stop_reason"], "end_turn");
      EXPECT_EQ(last["usage"]["output_tokens"], 20);
    }
    if (order.empty() || order.back() != name) order.push_back(name);
  }
  EXPECT_THAT(
      order, testing::ElementsAre("message_start", "ping", "content_block_start thinking 0", "thinking_delta",
                                  "signature_delta", "content_block_stop", "content_block_start text 1",
                                  "text_delta", "content_block_stop", "message_delta", "message_stop"));
  EXPECT_EQ(thinking, "Hm");
  EXPECT_EQ(text, "Yes");
}

TEST(Messages, AreThoseThatTemplatesKnow) {
  const Json body = {
      {"system", {{{"type", "text"}, {"text", "Be"}}, {{"type", "text"}, {"text", "brief"}}}},
      {"messages",
       {{{"role", "user"}, {"content", "Weather?"}},
        {{"role", "assistant"},
         {"content",
          {{{"type", "thinking"}, {"thinking", "Ask"}, {"signature", "x"}},
           {{"type", "text"}, {"text", "Let me see"}},
           {{"type", "tool_use"}, {"id", "t1"}, {"name", "weather"}, {"input", {{"city", "Ulm"}}}}}}},
        {{"role", "user"},
         {"content",
          {{{"type", "tool_result"},
            {"tool_use_id", "t1"},
            {"content", {{{"type", "text"}, {"text", "Rain"}}}}},
           {{"type", "text"}, {"text", "And now?"}, {"cache_control", {{"type", "ephemeral"}}}}}}}}},
      {"tools",
       {{{"name", "weather"}, {"description", "Tells"}, {"input_schema", {{"type", "object"}}}},
        {{"type", "bash_20250124"}, {"name", "bash"}}}},
      {"tool_choice", {{"type", "any"}, {"disable_parallel_tool_use", true}}},
      {"stop_sequences", {"x"}},
      {"thinking", {{"type", "enabled"}, {"budget_tokens", 1024}}},
      {"max_tokens", 5},
      {"top_k", 3}};
  const Json call = {{"id", "t1"},
                     {"type", "function"},
                     {"function", {{"name", "weather"}, {"arguments", "{\"city\":\"Ulm\"}"}}}};
  const Json expected = {
      {"messages",
       {{{"role", "system"}, {"content", "Be\nbrief"}},
        {{"role", "user"}, {"content", "Weather?"}},
        {{"role", "assistant"},
         {"content", "Let me see"},
         {"tool_calls", Json::array({call})},
         {"reasoning_content", "Ask"}},
        {{"role", "tool"}, {"tool_call_id", "t1"}, {"content", "Rain"}},
        {{"role", "user"}, {"content", "And now?"}}}},
      {"stop", {"x"}},
      {"tools",
       {{{"type", "function"},
         {"function",
          {{"name", "weather"}, {"parameters", {{"type", "object"}}}, {"description", "Tells"}}}}}},
      {"tool_choice", "required"},
      {"parallel_tool_calls", false},
      {"chat_template_kwargs", {{"enable_thinking", true}}},
      {"max_tokens", 5},
      {"top_k", 3}};
  EXPECT_EQ(nlohmann::json(chat_of_messages(body)), nlohmann::json(expected));  // in any order
}

TEST(Messages, GoOnFromAnAnswerThatIsBegun) {
  Fixture fixture;
  const Json begun = {
      {"messages", {{{"role", "user"}, {"content", "Hi"}}, {{"role", "assistant"}, {"content", "abc"}}}}};
  const Json answer = fixture.ask("/v1/messages", messages(begun)).json();
  EXPECT_EQ(answer["content"][0]["text"], "def") << answer;
}

TEST(Messages, AreCounted) {
  Fixture fixture;
  Json body = messages({{"system", "abc"}});
  body.erase("max_tokens");
  const Response counted = fixture.ask("/v1/messages/count_tokens", body);
  EXPECT_EQ(counted.json(), Json({{"input_tokens", 8}})) << counted.body;
}

// The second turn finds what the first one read, though Claude Code's header is another.
TEST(Messages, FindTheirPrefixWhateverIsBilled) {
  Fixture fixture;
  const auto ask = [&](const std::string& hash) {
    const std::string header =
        "x-anthropic-billing-header: cc_version=2.1.37; cc_entrypoint=cli; cch=" + hash + ";";
    const Json system = {
        {{"type", "text"}, {"text", header}},
        {{"type", "text"}, {"text", std::string(200, 's')}, {"cache_control", {{"type", "ephemeral"}}}}};
    const Json usage = fixture.ask("/v1/messages", messages({{"system", system}})).json()["usage"];
    EXPECT_EQ(usage["input_tokens"].get<int>() + usage["cache_read_input_tokens"].get<int>(), 205);
    return usage["cache_read_input_tokens"].get<int>();
  };
  EXPECT_EQ(ask("00000"), 0);
  EXPECT_EQ(ask("a1b2c"), 192);
  const Json text = messages({{"system", "x-anthropic-billing-header: cch=1;\nabc"}});
  EXPECT_EQ(fixture.ask("/v1/messages/count_tokens", text).json()["input_tokens"], 8);
}

TEST(Messages, TakeAKeyAsAnthropicsClientSendsIt) {
  Fixture fixture({.access = {.keys = {"k"}, .origins = {}, .hosts = {}}, .models = {}});
  Client client(fixture.port());
  const std::string body = messages().dump();
  const Response without = client.ask("POST", "/v1/messages", body);
  EXPECT_EQ(without.status, 401);
  EXPECT_EQ(without.json()["type"], "error");
  EXPECT_EQ(without.json()["error"]["type"], "authentication_error");
  EXPECT_EQ(
      client.ask("POST", "/v1/messages", body, "X-Api-Key: k\r\nAnthropic-Version: 2023-06-01\r\n").status,
      200);
}

struct BadMessages {
  const char* name;
  Json more;
  const char* says;
};

class MessagesBadInput : public testing::TestWithParam<BadMessages> {};

TEST_P(MessagesBadInput, IsToldInAnthropicsForm) {
  Fixture fixture;
  const Response response = fixture.ask("/v1/messages", messages(GetParam().more));
  EXPECT_EQ(response.status, 400) << response.body;
  EXPECT_EQ(response.json()["type"], "error");
  EXPECT_EQ(response.json()["error"]["type"], "invalid_request_error");
  EXPECT_THAT(response.json()["error"]["message"].get<std::string>(), HasSubstr(GetParam().says));
}

Json of_user(const Json& block) {
  return {{"messages", {{{"role", "user"}, {"content", Json::array({block})}}}}};
}

INSTANTIATE_TEST_SUITE_P(
    Bodies, MessagesBadInput,
    testing::Values(
        BadMessages{"NoMessages", {{"messages", nullptr}}, "messages: an array"},
        BadMessages{"UnknownRole", {{"messages", {{{"role", "tool"}, {"content", "x"}}}}}, "no role 'tool'"},
        BadMessages{"Image", of_user({{"type", "image"}, {"source", Json::object()}}), "not image of user"},
        BadMessages{"BlockWithoutAType", of_user({{"text", "a"}}),
                    "messages[0].content[0]: each block needs"},
        BadMessages{"TextIsANumber", of_user({{"type", "text"}, {"text", 1}}), "content[0].text: a string"},
        BadMessages{"CallByTheUser", of_user({{"type", "tool_use"}}), "not tool_use of user"},
        BadMessages{"ResultOfNothing", of_user({{"type", "tool_result"}}), "tool_use_id: it is missing"},
        BadMessages{"SystemIsANumber", {{"system", 1}}, "system: a string or an array"},
        BadMessages{"EmptyStop", {{"stop_sequences", {""}}}, "stop_sequences: each must"},
        BadMessages{"Temperature", {{"temperature", -1}}, "temperature: -1"},
        BadMessages{"FormatWithoutASchema",
                    {{"output_config", {{"format", {{"type", "json_schema"}}}}}},
                    "output_config.format: a json_schema"},
        BadMessages{"Thinking", {{"thinking", {{"type", "hard"}}}}, "'hard' is none of enabled"},
        BadMessages{"NoTool", {{"tool_choice", {{"type", "tool"}}}}, "tool_choice.name: it is missing"},
        BadMessages{"UnknownChoice", {{"tool_choice", {{"type", "some"}}}}, "'some' is none of"}),
    [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace cairn::server
