#include "text/tool_format.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <map>

#include "base/error.hpp"
#include "text/call_parser.hpp"

namespace cairn::text {
namespace {

using Json = nlohmann::ordered_json;

// Knows what ends a turn, and nothing else.
class Ends : public Tokenizer {
 public:
  std::vector<Token> encode(std::string_view, const EncodeOptions&) const override { return {}; }
  std::string piece(Token token, bool special) const override { return special ? kEnds.at(token) : ""; }
  size_t vocabulary() const override { return kEnds.size(); }
  std::string_view raw_token(Token token) const override { return kEnds.at(token); }
  std::optional<Token> find(std::string_view raw) const override {
    const auto at = std::find(kEnds.begin(), kEnds.end(), raw);
    return at == kEnds.end() ? std::nullopt : std::optional(static_cast<Token>(at - kEnds.begin()));
  }
  std::optional<Token> bos() const override { return std::nullopt; }
  std::optional<Token> eos() const override { return 0; }
  bool is_end(Token) const override { return true; }
  bool is_control(Token) const override { return true; }
  std::vector<TextRange> control_ranges(std::string_view text) const override {
    std::vector<TextRange> ranges;
    for (size_t at = 0; at < text.size(); ++at) {
      for (const std::string& end : kEnds) {
        if (text.substr(at).starts_with(end)) ranges.push_back({at, at + end.size()});
      }
    }
    return ranges;
  }

 private:
  const std::vector<std::string> kEnds = {"</s>",
                                          "<|im_end|>",
                                          "<|eot_id|>",
                                          "<|eom_id|>",
                                          "<|call|>",
                                          "<|end|>",
                                          "<|END_OF_TURN_TOKEN|>",
                                          "<｜end▁of▁sentence｜>",
                                          "<|end_of_text|>",
                                          "<seed:eos>"};
};

std::optional<ToolFormat> format_of(const std::string& name) {
  std::ifstream file(std::string(CAIRN_TEST_DATA) + "/templates/" + name + ".jinja");
  const std::string source{std::istreambuf_iterator<char>(file), {}};
  EXPECT_FALSE(source.empty()) << name;
  return tool_format(ChatTemplate(source, [] { return std::chrono::system_clock::time_point(); }), Ends());
}

using Shape = ToolFormat::Shape;

TEST(ToolFormat, IsFoundInWhatTemplatesWrite) {
  const std::map<std::string, ToolFormat> expected = {
      {"qwen2.5",
       {.call_open = "<tool_call>\n",
        .call_close = "\n</tool_call>",
        .between = "\n",
        .several = true,
        .name_key = "name",
        .arguments_key = "arguments"}},
      {"hermes-tool-use",
       {.call_open = "<tool_call>\n",
        .call_close = "\n</tool_call>",
        .between = "\n",
        .several = true,
        .name_key = "name",
        .arguments_key = "arguments"}},
      {"llama-3.1", {.name_key = "name", .arguments_key = "parameters"}},
      {"mistral-nemo",
       {.open = "[TOOL_CALLS]",
        .several = true,
        .array = true,
        .name_key = "name",
        .arguments_key = "arguments"}},
      {"falcon3",
       {.open = "\n<tool_call>\n",
        .close = "\n</tool_call>",
        .several = true,
        .array = true,
        .name_key = "name",
        .arguments_key = "arguments"}},
      {"command-r",
       {.open = "Action: ```json\n",
        .close = "```",
        .several = true,
        .array = true,
        .name_key = "tool_name",
        .arguments_key = "parameters"}},
      {"functionary-v3.1",
       {.shape = Shape::named,
        .call_open = "<function=",
        .call_close = "</function>",
        .several = true,
        .after_name = ">"}},
      {"deepseek-v3.1",
       {.shape = Shape::named,
        .open = "<｜tool▁calls▁begin｜>",
        .close = "<｜tool▁calls▁end｜>",
        .call_open = "<｜tool▁call▁begin｜>",
        .call_close = "<｜tool▁call▁end｜>",
        .several = true,
        .after_name = "<｜tool▁sep｜>"}},
      {"deepseek-r1",
       {.shape = Shape::named,
        .open = "<｜tool▁calls▁begin｜>",
        .call_open = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
        .call_close = "\n```<｜tool▁call▁end｜>",
        .between = "\n",
        .several = true,
        .after_name = "\n```json\n"}},
      {"gpt-oss",
       {.shape = Shape::named,
        .call_open = " to=functions.",
        .after_name = "<|channel|>commentary json<|message|>"}},
      {"glm-4.5",
       {.shape = Shape::tagged,
        .call_open = "<tool_call>",
        .call_close = "</tool_call>",
        .between = "\n",
        .several = true,
        .key_open = "<arg_key>",
        .key_close = "</arg_key>\n<arg_value>",
        .value_close = "</arg_value>"}},
      {"seed-oss",
       {.shape = Shape::tagged,
        .call_open = "<seed:tool_call>\n<function=",
        .call_close = "\n</function>\n</seed:tool_call>",
        .between = "\n",
        .several = true,
        .after_name = ">",
        .key_open = "\n<parameter=",
        .key_close = ">",
        .value_close = "</parameter>"}}};
  for (const auto& [name, wanted] : expected) {
    SCOPED_TRACE(name);
    const auto found = format_of(name);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->shape, wanted.shape);
    for (const auto part :
         {&ToolFormat::open, &ToolFormat::close, &ToolFormat::call_open, &ToolFormat::call_close,
          &ToolFormat::between, &ToolFormat::name_key, &ToolFormat::arguments_key, &ToolFormat::after_name,
          &ToolFormat::key_open, &ToolFormat::key_close, &ToolFormat::value_close})
      EXPECT_EQ(*found.*part, wanted.*part);
    EXPECT_EQ(found->several, wanted.several);
    EXPECT_EQ(found->array, wanted.array);
    EXPECT_TRUE(found->name_first);
  }
  EXPECT_TRUE(format_of("deepseek-v3.1")->arguments_as_text);
  EXPECT_FALSE(format_of("qwen2.5")->arguments_as_text);
}

TEST(ToolFormat, TemplatesThatWriteNoCallsHaveNone) {
  for (const char* name :
       {"smollm2", "smollm3", "gemma-2", "gemma-3", "llama-2", "chatml", "phi-3", "granite-3.3", "vicuna"})
    EXPECT_FALSE(format_of(name)) << name;
  EXPECT_FALSE(tool_format(ChatTemplate("{{ raise_exception('never') }}"), Ends()));
}

struct Called {
  std::string name, arguments;
  bool operator==(const Called&) const = default;
};
struct Parsed {
  std::string text;
  std::vector<Called> calls;
};

Parsed parse(const ToolFormat& format, const std::vector<Tool>& tools, std::string_view answer,
             size_t piece) {
  CallParser parser(format, tools);
  Parsed parsed;
  const auto take = [&](const std::vector<CallPiece>& pieces) {
    for (const CallPiece& one : pieces) {
      if (one.kind == CallPiece::Kind::text) {
        parsed.text += one.text;
      } else if (one.kind == CallPiece::Kind::call) {
        parsed.calls.push_back({one.text, ""});
      } else {
        parsed.calls.back().arguments += one.text;
      }
    }
  };
  for (size_t at = 0; at < answer.size(); at += piece) take(parser.push(answer.substr(at, piece)));
  take(parser.finish());
  return parsed;
}

Json conversations() {
  std::ifstream file(std::string(CAIRN_TEST_DATA) + "/templates/conversations.json");
  return Json::parse(file);
}

std::string golden(const std::string& name, const std::string& conversation) {
  std::ifstream file(std::string(CAIRN_TEST_DATA) + "/templates/" + name + ".json");
  return Json::parse(file)[conversation].value("text", "");
}

std::vector<Tool> tools_of(const Json& conversation) {
  std::vector<Tool> tools;
  for (const Json& tool : conversation["tools"])
    tools.push_back({tool["function"]["name"], tool["function"]["parameters"]});
  return tools;
}

// What jinja2 made of a conversation, from behind `from` on, has the calls that the conversation has.
void expect_calls(const std::string& name, const std::string& conversation, const std::string& from) {
  SCOPED_TRACE(name + ", " + conversation);
  const Json all = conversations()[conversation];
  const std::string text = golden(name, conversation);
  const auto format = format_of(name);
  ASSERT_TRUE(format && text.rfind(from) != std::string::npos);
  std::vector<Json> wanted;
  for (const Json& message : all["messages"]) {
    for (const Json& call : message.value("tool_calls", Json::array())) wanted.push_back(call["function"]);
  }
  for (const size_t piece : {size_t{1}, size_t{2}, size_t{3}, size_t{7}, text.size()}) {
    const Parsed parsed =
        parse(*format, tools_of(all), std::string_view(text).substr(text.find(from) + from.size()), piece);
    ASSERT_EQ(parsed.calls.size(), wanted.size()) << "pieces of " << piece << ": " << parsed.text;
    for (size_t i = 0; i < wanted.size(); ++i) {
      EXPECT_EQ(parsed.calls[i].name, wanted[i]["name"]);
      Json arguments = wanted[i]["arguments"];
      if (arguments.is_string()) arguments = Json::parse(arguments.get<std::string>());
      EXPECT_EQ(Json::parse(parsed.calls[i].arguments), arguments);
    }
  }
}

TEST(CallParser, FindsTheCallsThatTemplatesWrite) {
  const std::string oslo = "Weather in Oslo?", both = "Let me look.", time = "Time?";
  for (const char* name : {"qwen2.5", "qwen3", "hermes-tool-use", "falcon3", "command-r", "mistral-nemo",
                           "glm-4.5", "seed-oss", "gpt-oss"})
    expect_calls(name, "tool_turns", oslo);
  expect_calls("llama-3.1", "tool_turns",
               oslo + "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n");
  for (const char* name : {"qwen2.5", "qwen3", "falcon3", "glm-4.5"})
    expect_calls(name, "tool_parallel", both);
  for (const char* name : {"deepseek-r1", "deepseek-v3.1", "functionary-v3.1"})
    expect_calls(name, "tool_arguments_as_text", time);
}

const std::vector<Tool> kTools = {
    {"now", {{"type", "object"}}},
    {"find",
     {{"type", "object"},
      {"properties", {{"what", {{"type", "string"}}}, {"many", {{"type", "integer"}}}}}}}};

void expect_parsed(const ToolFormat& format, const std::string& answer, const std::string& text,
                   const std::vector<Called>& calls) {
  for (const size_t piece : {size_t{1}, size_t{4}, answer.size()}) {
    const Parsed parsed = parse(format, kTools, answer, piece);
    EXPECT_EQ(parsed.text, text) << "pieces of " << piece;
    EXPECT_EQ(parsed.calls.size(), calls.size()) << answer;
    for (size_t i = 0; i < std::min(calls.size(), parsed.calls.size()); ++i) {
      EXPECT_EQ(parsed.calls[i].name, calls[i].name);
      EXPECT_EQ(parsed.calls[i].arguments, calls[i].arguments);
    }
  }
}

TEST(CallParser, TellsCallsFromText) {
  const ToolFormat plain = plain_tool_format();
  expect_parsed(plain, "No call, but a < b.\n", "No call, but a < b.\n", {});
  expect_parsed(plain, "First. <tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>", "First.",
                {{"now", "{}"}});
  expect_parsed(
      plain,
      "<tool_call>\n{\"arguments\": {\"what\": \"}</tool_call>\"}, \"name\": \"find\"}\n</tool_call>\n", "",
      {{"find", "{\"what\": \"}</tool_call>\"}"}});
  expect_parsed(
      plain,
      "<tool_call>{\"name\": "
      "\"now\"}</tool_call><tool_call>{\"name\":\"find\",\"arguments\":{\"many\":2}}</tool_call> Done.",
      "Done.", {{"now", "{}"}, {"find", "{\"many\":2}"}});
  expect_parsed(plain, "<tool_call>{\"name\": \"now\", \"arguments\": \"{\\\"a\\\": 1}\"}</tool_call>", "",
                {{"now", "{\"a\": 1}"}});
}

TEST(CallParser, WhatIsNoCallStaysText) {
  const ToolFormat plain = plain_tool_format();
  for (const char* text : {"<tool_call>\n{\"name\": \"unknown\", \"arguments\": {}}\n</tool_call>",
                           "<tool_call>\nhello\n</tool_call>", "<tool_call>\n{\"name\": now}", "<tool_call>",
                           "<tool_call>{\"name\": \"no", "a <tool", "<tool_call>{}</tool_call>"})
    expect_parsed(plain, text, text, {});
  const auto llama = *format_of("llama-3.1");
  expect_parsed(llama, "{\"city\": \"Oslo\"}", "{\"city\": \"Oslo\"}", {});
  expect_parsed(llama, "It is {\"name\": \"now\"}", "It is {\"name\": \"now\"}", {});
  expect_parsed(llama, " {\"name\": \"now\", \"parameters\": {}}", "", {{"now", "{}"}});
}

// Arguments as a text that is no JSON: what is told of the call stays, in whatever pieces it came.
TEST(CallParser, ATextOfArgumentsThatIsBrokenEndsTheCall) {
  for (const char* broken : {"a\nb", "\\q"}) {
    const std::string answer =
        std::string("<tool_call>{\"name\": \"now\", \"arguments\": \"") + broken + "\"}</tool_call>";
    for (size_t piece = 1; piece < answer.size(); ++piece) {
      const Parsed parsed = parse(plain_tool_format(), kTools, answer, piece);
      ASSERT_LE(parsed.calls.size(), 1u);
      for (const Called& call : parsed.calls) EXPECT_EQ(call.arguments, "{}") << piece;
    }
    EXPECT_EQ(parse(plain_tool_format(), kTools, answer, 1).calls.size(), 1u);
  }
}

TEST(CallParser, AnAnswerThatIsCutHasWhatThereIs) {
  expect_parsed(plain_tool_format(), "<tool_call>{\"name\": \"find\", \"arguments\": {\"what\": \"fi", "",
                {{"find", "{\"what\": \"fi"}});
  expect_parsed(*format_of("glm-4.5"),
                "<tool_call>find<arg_key>what</arg_key>\n<arg_value>a</arg_value><arg_key>many", "",
                {{"find", "{\"what\": \"a\""}});
}

TEST(CallParser, TaggedValuesAreOfTheirSchemasType) {
  expect_parsed(
      *format_of("glm-4.5"),
      "<tool_call>find\n<arg_key>what</arg_key>\n<arg_value>12</arg_value>\n<arg_key>many</"
      "arg_key>\n<arg_value>12</arg_value>\n"
      "<arg_key>else</arg_key>\n<arg_value>True</arg_value>\n</tool_call><tool_call>now</tool_call>",
      "", {{"find", "{\"what\": \"12\", \"many\": 12, \"else\": true}"}, {"now", "{}"}});
}

}  // namespace
}  // namespace cairn::text
