// OpenAI's newer API, over HTTP; tests/server/openai_client.py asks with its real client.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api_fixture.hpp"
#include "server/responses_request.hpp"

namespace cairn::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Json asked(Json more = Json::object()) {
  Json body = {{"model", "tiny"}, {"input", "Hi"}};
  body.update(more);
  return body;
}

TEST(Responses, AreAnswered) {
  Fixture fixture;
  const Response response = fixture.ask("/v1/responses", asked({{"instructions", "xy"}, {"store", true}}));
  ASSERT_EQ(response.status, 200) << response.body;
  const Json answer = response.json();
  EXPECT_EQ(answer["object"], "response");
  EXPECT_EQ(answer["status"], "completed");
  EXPECT_EQ(answer["instructions"], "xy");
  EXPECT_EQ(answer["store"], false);
  EXPECT_TRUE(answer["error"].is_null());
  ASSERT_EQ(answer["output"].size(), 1u);
  const Json& message = answer["output"][0];
  EXPECT_EQ(message["type"], "message");
  EXPECT_EQ(message["status"], "completed");
  EXPECT_EQ(message["content"][0]["type"], "output_text");
  EXPECT_EQ(message["content"][0]["text"], "abcdef");
  EXPECT_EQ(answer["usage"]["input_tokens"], 7);
  EXPECT_EQ(answer["usage"]["output_tokens"], 6);
  EXPECT_EQ(answer["usage"]["total_tokens"], 13);

  const Json cut = fixture.ask("/v1/responses", asked({{"max_output_tokens", 2}})).json();
  EXPECT_EQ(cut["status"], "incomplete");
  EXPECT_EQ(cut["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(cut["output"][0]["status"], "incomplete");
  EXPECT_EQ(cut["max_output_tokens"], 2);
  const Json counted = fixture.ask("/v1/responses/input_tokens", asked()).json();
  EXPECT_EQ(counted, Json({{"object", "response.input_tokens"}, {"input_tokens", 4}}));
}

TEST(Responses, AreStreamed) {
  const std::string reasons = std::string(kTemplate) + "{# </think> #}";
  Fixture fixture({}, {}, std::make_shared<Engine>(answering("<think>Hm</think>Yes")), reasons);
  Client client(fixture.port());
  client.request("POST", "/v1/responses",
                 asked({{"stream", true}, {"include", {"message.output_text.logprobs"}}}).dump());
  client.read(false);
  std::vector<std::string> order;
  std::string text;
  size_t tokens = 0, sequence = 0;
  Json data, last;
  for (std::string name; !(name = client.read_named_event(data)).empty(); last = data) {
    EXPECT_EQ(data["type"], name);
    EXPECT_EQ(data["sequence_number"], sequence++);
    name = name.substr(name.find('.') + 1);
    if (name == "output_text.delta") {
      text += data["delta"];
      tokens += data["logprobs"].size();
    }
    if (data.contains("output_index")) name += " " + data["output_index"].dump();
    if (order.empty() || order.back() != name) order.push_back(name);
  }
  EXPECT_THAT(order, ElementsAre("created", "in_progress", "output_item.added 0", "content_part.added 0",
                                 "reasoning_text.delta 0", "reasoning_text.done 0", "content_part.done 0",
                                 "output_item.done 0", "output_item.added 1", "content_part.added 1",
                                 "output_text.delta 1", "output_text.done 1", "content_part.done 1",
                                 "output_item.done 1", "completed"));
  EXPECT_EQ(text, "Yes");
  EXPECT_EQ(tokens, 3u);
  const Json& output = last["response"]["output"];
  EXPECT_EQ(output[0]["content"][0]["text"], "Hm");
  EXPECT_EQ(output[1]["content"][0]["text"], "Yes");
  EXPECT_EQ(output[1]["content"][0]["logprobs"].size(), 3u);
  EXPECT_EQ(last["response"]["usage"]["output_tokens"], 20);
}

TEST(Responses, TellOfNoMemoryInTheStream) {
  Fixture fixture;
  fixture.engine->full = true;
  Client client(fixture.port());
  client.request("POST", "/v1/responses", asked({{"stream", true}}).dump());
  client.read(false);
  Json data;
  std::string last;
  for (std::string name; !(name = client.read_named_event(data)).empty();) last = name;
  EXPECT_EQ(last, "response.failed");
}

TEST(Responses, AreThoseThatTemplatesKnow) {
  const Json body = {
      {"instructions", "Be brief"},
      {"input",
       {{{"role", "user"}, {"content", {{{"type", "input_text"}, {"text", "Weather?"}}}}},
        {{"type", "reasoning"}, {"id", "r"}, {"content", {{{"type", "reasoning_text"}, {"text", "Ask"}}}}},
        {{"type", "message"},
         {"role", "assistant"},
         {"content", {{{"type", "output_text"}, {"text", "Let me see"}, {"annotations", Json::array()}}}}},
        {{"type", "function_call"}, {"call_id", "c"}, {"name", "weather"}, {"arguments", "{}"}},
        {{"type", "function_call_output"}, {"call_id", "c"}, {"output", "Rain"}}}},
      {"tools",
       {{{"type", "function"}, {"name", "weather"}, {"parameters", {{"type", "object"}}}, {"strict", true}},
        {{"type", "web_search"}},
        {{"type", "custom"}, {"name", "patch"}}}},
      {"tool_choice", {{"type", "function"}, {"name", "weather"}}},
      {"text", {{"format", {{"type", "json_schema"}, {"name", "n"}, {"schema", {{"type", "object"}}}}}}},
      {"reasoning", {{"effort", "low"}}},
      {"max_output_tokens", 5}};
  const Json expected = {
      {"messages",
       {{{"role", "system"}, {"content", "Be brief"}},
        {{"role", "user"}, {"content", "Weather?"}},
        {{"role", "assistant"},
         {"content", "Let me see"},
         {"reasoning_content", "Ask"},
         {"tool_calls",
          {{{"id", "c"}, {"type", "function"}, {"function", {{"name", "weather"}, {"arguments", "{}"}}}}}}},
        {{"role", "tool"}, {"tool_call_id", "c"}, {"content", "Rain"}}}},
      {"tools",
       {{{"type", "function"},
         {"function", {{"name", "weather"}, {"parameters", {{"type", "object"}}}, {"strict", true}}}}}},
      {"tool_choice", {{"type", "function"}, {"function", {{"name", "weather"}}}}},
      {"response_format",
       {{"type", "json_schema"}, {"json_schema", {{"name", "n"}, {"schema", {{"type", "object"}}}}}}},
      {"reasoning_effort", "low"},
      {"max_tokens", 5}};
  EXPECT_EQ(nlohmann::json(chat_of_responses(body)), nlohmann::json(expected));  // in any order
}

struct BadResponses {
  const char* name;
  Json more;
  const char *param, *says;
};

class ResponsesBadInput : public testing::TestWithParam<BadResponses> {};

TEST_P(ResponsesBadInput, IsToldInOpenAisForm) {
  Fixture fixture;
  const Response response = fixture.ask("/v1/responses", asked(GetParam().more));
  EXPECT_EQ(response.status, 400) << response.body;
  const Json error = response.json()["error"];
  EXPECT_EQ(error["param"], GetParam().param);
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(GetParam().says));
}

Json input(const Json& item) {
  return {{"input", Json::array({item})}};
}

INSTANTIATE_TEST_SUITE_P(
    Bodies, ResponsesBadInput,
    testing::Values(BadResponses{"NoInput", {{"input", nullptr}}, "input", "missing"},
                    BadResponses{"InputIsANumber", {{"input", 1}}, "input", "a string or an array of items"},
                    BadResponses{"ItemIsText", input("x"), "input[0]", "an object"},
                    BadResponses{"UnknownItem", input({{"type", "item_reference"}, {"id", "x"}}), "input[0]",
                                 "item_reference"},
                    BadResponses{"Image",
                                 input({{"role", "user"},
                                        {"content", {{{"type", "input_image"}, {"image_url", ""}}}}}),
                                 "input[0].content", "not input_image"},
                    BadResponses{"CallWithoutAName", input({{"type", "function_call"}, {"call_id", "c"}}),
                                 "input[0].name", "missing"},
                    BadResponses{"NoMessage", input({{"type", "reasoning"}}), "input", "no message in it"},
                    BadResponses{"Include", {{"include", {1}}}, "include", "a string"},
                    BadResponses{"Previous",
                                 {{"previous_response_id", "resp_1"}},
                                 "previous_response_id",
                                 "keeps nothing between requests"},
                    BadResponses{"Background", {{"background", true}}, "background", "at once"},
                    BadResponses{"Format", {{"text", {{"format", "json"}}}}, "text.format", "with a type"},
                    BadResponses{"Most", {{"max_output_tokens", -1}}, "max_output_tokens", "-1"}),
    [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace cairn::server
