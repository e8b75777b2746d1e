// Calls of tools and answers of a format, over HTTP.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "api_fixture.hpp"
#include "base/temporary_folder.hpp"

namespace cairn::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kCalling =
    "{% for t in tools or [] %}[{{ t.function.name }}]{% endfor %}{% for m in messages %}"
    "{{ '<|assistant|>' if m.role == 'assistant' else '<|user|>' }}{{ m.content or '' }}"
    "{% for c in m.tool_calls or [] %}<call>{{ {'name': c.function.name, 'arguments': c.function.arguments} "
    "| tojson }}</call>"
    "{% endfor %}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";

Json tool(const std::string& name, Json properties = Json::object()) {
  const Json parameters = {
      {"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
  return {{"type", "function"}, {"function", {{"name", name}, {"parameters", parameters}}}};
}

Json asking(Json more = Json::object()) {
  Json body =
      chat({{"tools", {tool("now"), tool("find", {{"n", {{"type", "integer"}}}})}}, {"max_tokens", 200}});
  body.update(more);
  return body;
}

Fixture served(const std::string& answer, const char* chat_template = kCalling) {
  return Fixture({}, {}, std::make_shared<Engine>(answering(answer)), chat_template);
}

std::string prompt_of(Fixture& fixture, const Json& body) {
  const Json tokens = fixture.ask("/tokenize", body).json()["tokens"];
  return fixture.ask("/detokenize", {{"model", "tiny"}, {"tokens", tokens}}).json()["prompt"];
}

TEST(Tools, CallsAreToldFromText) {
  auto fixture = served("Well. <call>{\"name\": \"find\", \"arguments\": {\"n\": 3}}</call>");
  const Json answer = fixture.ask("/v1/chat/completions", asking()).json();
  const Json& choice = answer["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  EXPECT_EQ(choice["message"]["content"], "Well.");
  ASSERT_EQ(choice["message"]["tool_calls"].size(), 1u);
  const Json& call = choice["message"]["tool_calls"][0];
  EXPECT_EQ(call["type"], "function");
  EXPECT_EQ(call["id"].get<std::string>().size(), 9u);
  EXPECT_EQ(call["function"]["name"], "find");
  EXPECT_EQ(call["function"]["arguments"], "{\"n\": 3}");
}

TEST(Tools, CallsAreStreamed) {
  auto fixture = served(
      "<call>{\"name\": \"find\", \"arguments\": {\"n\": 3}}</call><call>{\"name\": \"now\", \"arguments\": "
      "{}}</call>");
  std::vector<std::string> names, arguments(2), ids;
  std::string finish, content;
  size_t pieces = 0;
  for (const std::string& event : fixture.stream("/v1/chat/completions", asking({{"stream", true}}))) {
    if (event == "[DONE]") continue;
    const Json choice = Json::parse(event)["choices"][0];
    if (!choice["finish_reason"].is_null()) finish = choice["finish_reason"];
    content += choice["delta"].value("content", "");
    for (const Json& call : choice["delta"].value("tool_calls", Json::array())) {
      const size_t index = call["index"];
      if (call.contains("id")) {
        EXPECT_EQ(index, names.size());
        ids.push_back(call["id"]);
        names.push_back(call["function"]["name"]);
      }
      pieces += call["function"]["arguments"] != "";
      arguments[index] += call["function"]["arguments"];
    }
  }
  EXPECT_EQ(finish, "tool_calls");
  EXPECT_EQ(content, "");
  EXPECT_THAT(names, ElementsAre("find", "now"));
  EXPECT_THAT(arguments, ElementsAre("{\"n\": 3}", "{}"));
  EXPECT_NE(ids[0], ids[1]);
  EXPECT_GT(pieces, 4u) << "as they come";
}

TEST(Tools, CallsAreAnthropicsBlocksToo) {
  auto fixture = served("<call>{\"name\": \"find\", \"arguments\": {\"n\": 3}}</call>");
  Json body = chat({{"max_tokens", 200}});
  body["tools"] = {{{"name", "find"}, {"input_schema", {{"type", "object"}}}},
                   {{"type", "bash_20250124"}, {"name", "bash"}}};
  const Json answer = fixture.ask("/v1/messages", body).json();
  EXPECT_EQ(answer["stop_reason"], "tool_use");
  EXPECT_EQ(answer["content"][0]["type"], "tool_use");
  EXPECT_EQ(answer["content"][0]["input"], Json::parse("{\"n\": 3}"));
}

TEST(Tools, TemplatesGetToolsAndEarlierCalls) {
  auto fixture = served("");
  Json body = asking();
  body["messages"] = Json::parse(R"([{"role": "user", "content": "Q"},
      {"role": "assistant", "content": null, "tool_calls": [{"id": "a", "type": "function", "function": {"name": "find", "arguments": "{\"n\": 1}"}},
                                                            {"id": "b", "type": "function", "function": {"name": "now", "arguments": ""}}]},
      {"role": "tool", "tool_call_id": "a", "content": "R"}])");
  EXPECT_EQ(
      prompt_of(fixture, body),
      "[now][find]<|user|>Q<|end|><|assistant|><call>{\"name\": \"find\", \"arguments\": {\"n\": 1}}</call>"
      "<call>{\"name\": \"now\", \"arguments\": {}}</call><|end|><|user|>R<|end|><|assistant|>");
  body["tool_choice"] = "none";
  EXPECT_THAT(prompt_of(fixture, body), ::testing::StartsWith("<|user|>Q"));
}

TEST(Tools, TemplatesWithoutToolsGetThemAsText) {
  auto fixture = served("<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>", kTemplate);
  Json body = chat({{"tools", {tool("now")}}});
  body["messages"] = Json::parse(R"([{"role": "user", "content": "Q"},
      {"role": "assistant", "content": "", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "now", "arguments": "{}"}}]},
      {"role": "tool", "tool_call_id": "a", "content": "R"}])");
  const std::string prompt = prompt_of(fixture, body);
  EXPECT_THAT(prompt, ::testing::StartsWith("<|user|># Tools"));
  EXPECT_THAT(prompt, HasSubstr("{\"type\":\"function\",\"function\":{\"name\":\"now\""));
  EXPECT_THAT(prompt,
              HasSubstr("<|user|>Q<|user|><tool_call>\n{\"name\":\"now\",\"arguments\":{}}\n</tool_call>"
                        "<|user|><tool_response>\nR\n</tool_response><|assistant|>"));
}

TEST(Tools, OnlyFunctionsMayBeCalled) {
  auto fixture = served("<call>{\"name\": \"now\", \"arguments\": {}}</call>");
  const auto finish = [&](const Json& more) {
    return fixture.ask("/v1/chat/completions", asking(more)).json()["choices"][0]["finish_reason"];
  };
  EXPECT_EQ(finish(Json::object()), "tool_calls");
  EXPECT_EQ(finish({{"tool_choice", "none"}}), "stop");
  EXPECT_EQ(
      finish({{"tools", {{{"type", "web_search"}}, {{"type", "custom"}, {"custom", {{"name", "now"}}}}}}}),
      "stop");
  EXPECT_EQ(finish({{"tools", {tool("other")}}}), "stop");
  EXPECT_EQ(finish({{"tools", Json::array()}}), "stop");
}

TEST(Tools, WhatIsWrongIsNamed) {
  auto fixture = served("");
  const std::vector<std::pair<Json, const char*>> cases = {
      {{{"tools", 3}}, "tools: an array was expected"},
      {{{"tools", {3}}}, "tools[0]: an object was expected"},
      {{{"tools", {{{"type", "function"}, {"function", {{"name", "a b"}}}}}}},
       "tools[0].function.name: up to 64 letters"},
      {{{"tools", {tool("a"), tool("a")}}}, "tools[1].function.name: there are two functions 'a'"},
      {{{"tools", {{{"type", "function"}, {"function", {{"name", "a"}, {"parameters", "x"}}}}}}},
       "tools[0].function.parameters"},
      {{{"tool_choice", "maybe"}}, "tool_choice: none, auto, required"},
      {{{"tool_choice", {{"type", "function"}, {"function", {{"name", "other"}}}}}},
       "there is no function 'other' among the tools"},
      {{{"tools", {{{"type", "web_search"}}}}, {"tool_choice", "required"}},
       "there is no function among the tools"},
      {{{"parallel_tool_calls", 3}}, "parallel_tool_calls: true or false"},
      {Json::parse(R"({"messages": [{"role": "assistant", "tool_calls": 3}]})"),
       "messages[0].tool_calls: an array was expected"},
      {Json::parse(
           R"({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": "{"}}]}]})"),
       "messages[0].tool_calls[0].function.arguments: a JSON object"},
      {{{"tool_choice", "required"}, {"response_format", {{"type", "json_object"}}}},
       "an answer that must be a call"}};
  for (const auto& [more, why] : cases) {
    const Response response = fixture.ask("/v1/chat/completions", asking(more));
    EXPECT_EQ(response.status, 400) << why;
    EXPECT_THAT(response.json()["error"]["message"], HasSubstr(why));
  }
}

TEST(OutputFormats, WhatIsWrongIsNamed) {
  auto fixture = served("");
  const std::vector<std::pair<Json, const char*>> cases = {
      {{{"response_format", 3}}, "response_format: an object with a type was expected"},
      {{{"response_format", {{"type", "xml"}}}},
       "response_format.type: this server knows text, json_object and json_schema, not xml"},
      {{{"response_format", {{"type", "json_schema"}}}}, "response_format.json_schema: it is missing"},
      {{{"response_format", {{"type", "json_schema"}, {"json_schema", Json::object()}}}},
       "response_format.json_schema.schema: it is missing"},
      {{{"guided_regex", 3}}, "guided_regex: a text was expected"},
      {{{"guided_choice", {1}}}, "guided_choice: an array of texts"},
      {{{"structured_outputs", {{"structural_tag", {{"a", 1}}}}}},
       "structured_outputs.structural_tag: this server knows"},
      {{{"grammar", "root ::= \"a\""}, {"guided_regex", "a"}},
       "an answer cannot be held to guided_regex too"}};
  for (const auto& [more, why] : cases) {
    const Response response = fixture.ask("/v1/chat/completions", chat(more));
    EXPECT_EQ(response.status, 400) << why;
    EXPECT_THAT(response.json()["error"]["message"], HasSubstr(why));
  }
  EXPECT_EQ(
      fixture.ask("/v1/chat/completions", chat({{"response_format", {{"type", "text"}}}, {"grammar", ""}}))
          .status,
      200);
}

TEST(OutputFormats, AreRefusedByNameWithoutTheLibrary) {
  const cairn::testing::ScopedVariable lib("CAIRN_LIB", "/nowhere");
  auto fixture = served("");
  const std::vector<std::pair<Json, const char*>> cases = {
      {{{"response_format", {{"type", "json_object"}}}}, "response_format"},
      {{{"guided_regex", "a"}}, "guided_regex"},
      {{{"tools", {tool("a")}}, {"tool_choice", "required"}}, "tools"}};
  for (const auto& [more, param] : cases) {
    const Response response = fixture.ask("/v1/chat/completions", chat(more));
    EXPECT_EQ(response.status, 400);
    EXPECT_EQ(response.json()["error"]["param"], param);
    EXPECT_THAT(response.json()["error"]["message"],
                HasSubstr("libcairn_grammar.so is not there: ./quickstart.sh --grammar"));
  }
}

std::vector<const char*> libraries() {
  setenv("CAIRN_LIB", std::filesystem::path(CAIRN_PROGRAM).parent_path().c_str(), 1);
  const bool there =
      std::filesystem::exists(std::filesystem::path(CAIRN_PROGRAM).parent_path() / "libcairn_grammar.so");
  return there ? std::vector<const char*>{"built"} : std::vector<const char*>();
}

class XGrammarServed : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { libraries(); }
  static Json asked(Fixture& fixture, const Json& body, const std::string& path = "/v1/chat/completions") {
    const Response response = fixture.ask(path, body);
    EXPECT_EQ(response.status, 200) << response.body;
    return response.json()["choices"][0];
  }
};

TEST_P(XGrammarServed, AnswersAreOfTheFormat) {
  auto fixture = served("abcdef", kTemplate);
  const Json schema = Json::parse(
      R"({"type": "object", "properties": {"a": {"enum": ["x", "yy"]}, "b": {"type": "integer", "maximum": 9}},
                                      "required": ["a", "b"]})");
  const auto meets = [&](const Json& body) {
    const Json answer = Json::parse(asked(fixture, body)["message"]["content"].get<std::string>());
    return (answer["a"] == "x" || answer["a"] == "yy") && answer["b"].is_number_integer() &&
           answer.size() == 2;
  };
  EXPECT_TRUE(meets(chat({{"response_format",
                           {{"type", "json_schema"},
                            {"json_schema", {{"name", "n"}, {"strict", true}, {"schema", schema}}}}}})));
  for (const char* field : {"guided_json", "json_schema"})
    EXPECT_TRUE(meets(chat({{field, schema}}))) << field;
  EXPECT_TRUE(meets(chat({{"structured_outputs", {{"json", schema}}}})));
  EXPECT_TRUE(meets(chat({{"guided_json", schema.dump()}, {"temperature", 1.5}, {"seed", 3}})));
  EXPECT_EQ(asked(fixture, chat({{"guided_regex", "[xy]{3}z"}}))["message"]["content"], "xxxz");
  EXPECT_EQ(asked(fixture, chat({{"grammar", "root ::= \"b\" [0-9]"}}))["message"]["content"], "b0");
  EXPECT_EQ(asked(fixture, chat({{"guided_choice", {"no", "a \"quoted\"\n"}}}))["message"]["content"],
            "a \"quoted\"\n");
  EXPECT_EQ(asked(fixture, {{"model", "tiny"}, {"prompt", "x"}, {"guided_regex", "q+"}, {"max_tokens", 3}},
                  "/v1/completions")["text"],
            "qqq");
  const Json object =
      asked(fixture, chat({{"response_format", {{"type", "json_object"}}}, {"max_tokens", 400}}));
  EXPECT_EQ(object["message"]["content"].get<std::string>().front(), '{');
}

TEST_P(XGrammarServed, WhatCannotBeEnforcedIsRefused) {
  auto fixture = served("");
  const std::vector<std::pair<Json, const char*>> cases = {
      {{{"guided_json", {{"type", "object"}, {"not", Json::object()}}}},
       "guided_json: the schema, at its root: 'not' cannot be enforced"},
      {{{"guided_json", "{"}}, "the schema is no JSON"},
      {{{"guided_regex", "a(?=b)"}}, "guided_regex: the regular expression: "},
      {{{"grammar", "root ::= other"}}, "grammar: the grammar: "},
      {{{"tools", {tool("a", {{"b", {{"type", "object"}, {"not", Json::object()}}}})}},
        {"tool_choice", "required"}},
       "tools: the schema, at /properties/arguments/properties/b: 'not'"},
      {{{"grammar", "root ::= \"a\""}, {"ignore_eos", true}}, "ends where the grammar does"}};
  for (const auto& [more, why] : cases) {
    const Response response = fixture.ask("/v1/chat/completions", chat(more));
    EXPECT_EQ(response.status, 400) << response.body;
    EXPECT_THAT(response.json()["error"]["message"], HasSubstr(why));
  }
}

TEST_P(XGrammarServed, ACallThatIsRequiredComes) {
  auto fixture = served("abcdef");
  Json body = asking({{"tool_choice", "required"}, {"parallel_tool_calls", false}, {"max_tokens", 400}});
  const Json any = asked(fixture, body);
  EXPECT_EQ(any["finish_reason"], "tool_calls");
  ASSERT_EQ(any["message"].at("tool_calls").size(), 1u);
  const std::string arguments = any["message"]["tool_calls"][0]["function"]["arguments"];
  EXPECT_TRUE(Json::parse(arguments).is_object());
  body["tool_choice"] = Json::parse(R"({"type": "function", "function": {"name": "find"}})");
  EXPECT_EQ(asked(fixture, body)["message"].at("tool_calls")[0]["function"]["name"], "find");
}

TEST_P(XGrammarServed, StrictFunctionsGetArgumentsOfTheirSchema) {
  Json find = tool("find", {{"n", {{"type", "integer"}, {"maximum", 9}}}});
  find["function"]["strict"] = true;
  // It would write a text where a number must stand, and text where it is free.
  auto fixture = served("Hm <call>{\"name\": \"find\", \"arguments\": {\"n\": \"many\"}}</call>");
  const Json choice = asked(fixture, asking({{"tools", {find}}}));
  EXPECT_EQ(choice["message"]["content"], "Hm");
  const Json arguments =
      Json::parse(choice["message"]["tool_calls"][0]["function"]["arguments"].get<std::string>());
  EXPECT_TRUE(arguments["n"].is_number_integer()) << arguments;
}

TEST_P(XGrammarServed, AFormatBeginsBehindTheReasoning) {
  const std::string thinking =
      "{# </think> #}{% for m in messages %}<|user|>{{ m.content }}{% endfor %}<|assistant|><think>";
  auto fixture = served("<think>hm</think>abc", thinking.c_str());
  const Json choice = asked(fixture, chat({{"guided_regex", "[xy]{2}"}}));
  EXPECT_EQ(choice["message"]["reasoning_content"], "hm");
  EXPECT_EQ(choice["message"]["content"], "xx");
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(XGrammarServed);
INSTANTIATE_TEST_SUITE_P(Library, XGrammarServed, ::testing::ValuesIn(libraries()),
                         [](const auto&) { return "Built"; });

}  // namespace
}  // namespace cairn::server
