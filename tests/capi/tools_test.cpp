// Tools that answers may call, and how likely a prompt's tokens were. Tests whose suite is called XGrammar…
// exist where libcairn_grammar.so was built: it forces the answers of a model of random weights.
#include <cstddef>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/own_library.hpp"
#include "base/plugin.hpp"
#include "base/temporary_folder.hpp"
#include "support.hpp"

namespace cairn::capi {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Writes tools and calls; what the latter look like is found in it.
constexpr const char* kCalling =
    "{% for t in tools or [] %}[{{ t.function.name }}]{% endfor %}{% for m in messages %}"
    "({{ m.role }}){{ m.content or '' }}{% for c in m.tool_calls or [] %}<call>{{ {'name': c.function.name, "
    "'arguments': c.function.arguments} | tojson }}</call>{% endfor %};{% endfor %}"
    "{% if add_generation_prompt %}(assistant){% endif %}";
constexpr const char* kTools =
    R"([{"type": "function", "function": {"name": "now"}}, {"type": "function", "function": {"name": "find",
        "parameters": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}},
                       "required": ["n"], "additionalProperties": false}}}])";
constexpr const char* kUser = R"([{"role": "user", "content": "Find 3"}])";
// The answer is this, whatever the model's weights are.
constexpr const char* kForced =
    R"re(Well\. <call>\{"name": "find", "arguments": \{"n": 3\}\}</call><call>\{"name": "now", "arguments": \{\}\}</call>)re";

// The events of an answer.
struct Heard {
  std::vector<std::string> pieces;  // "kind:text"
  std::vector<std::string> ids;
  std::string text;
  static int token(void* user, const cairn_token_event* event) {
    auto& heard = *static_cast<Heard*>(user);
    heard.text.append(event->text, event->text_size);
    for (size_t i = 0; i < event->piece_count; ++i) {
      const cairn_piece& piece = event->pieces[i];
      const std::string kind = std::to_string(piece.kind) + ":";
      if (piece.kind == CAIRN_PIECE_CALL) heard.ids.emplace_back(piece.id);
      if (heard.pieces.empty() || !heard.pieces.back().starts_with(kind)) heard.pieces.push_back(kind);
      heard.pieces.back().append(piece.text, piece.text_size);
    }
    return 0;
  }
};

class CapiTools : public Capi {
 protected:
  CapiTools() { open(kCalling); }
  ~CapiTools() override { close(); }

  void open(const char* chat_template) {
    close();
    cairn_model_options model_options;
    cairn_model_options_init(&model_options, sizeof model_options);
    model_options.chat_template = chat_template;
    EXPECT_OK(cairn_model_open(path_.c_str(), &model_options, &calling_, error));
    cairn_engine_options options;
    cairn_engine_options_init(&options, sizeof options);
    options.context = 512;
    options.threads = 2;
    options.precision = CAIRN_PRECISION_F32;  // how the prompt is cut up makes no difference then
    EXPECT_OK(cairn_engine_open(calling_, &options, &calling_engine_, error));
    EXPECT_OK(cairn_session_open(calling_engine_, &own_, error));
    EXPECT_OK(cairn_batch_open(calling_engine_, nullptr, &batch_, error));
  }
  void close() {
    cairn_batch_close(batch_);
    cairn_session_close(own_);
    cairn_engine_close(calling_engine_);
    cairn_model_close(calling_);
  }

  std::string rendered(const char* messages, const char* tools, const char* variables = nullptr) const {
    cairn_template_options options;
    cairn_template_options_init(&options, sizeof options);
    options.tools = tools;
    options.variables = variables;
    Text text;
    EXPECT_OK(cairn_template_render(calling_, messages, &options, &text, nullptr, error));
    return text.str();
  }
  // Begins kForced, where the model may choose between that and a call.
  std::vector<cairn_logit_bias> well() const {
    std::vector<cairn_logit_bias> biases;
    cairn_model_info info{};
    info.size = sizeof info;
    EXPECT_OK(cairn_model_get_info(calling_, &info, error));
    for (int32_t token = 0; token < static_cast<int32_t>(info.vocabulary); ++token) {
      Text text;
      EXPECT_OK(cairn_detokenize(calling_, &token, 1, 0, &text, nullptr, error));
      if (text.str().starts_with('W')) biases.push_back({token, 100});
    }
    return biases;
  }
  std::vector<int32_t> prompt() const { return tokens(rendered(kUser, kTools)); }

  cairn_status by_session(const GenerateOptions& options, Result& result, cairn_error* error) const {
    const auto read = prompt();
    return cairn_session_generate(own_, read.data(), read.size(), &options, &result, error);
  }
  cairn_status by_batch(const GenerateOptions& options, Result& result, cairn_error* error) const {
    const auto read = prompt();
    cairn_request* request = nullptr;
    cairn_status status =
        cairn_batch_submit(batch_, read.data(), read.size(), &options, 0, nullptr, &request, error);
    if (status == CAIRN_OK) status = cairn_request_wait(request, &result, error);
    cairn_request_close(request);
    return status;
  }
  cairn_status by_chat(const GenerateOptions& options, Result& result, cairn_error* error) const {
    cairn_chat* chat = nullptr;
    cairn_status status = cairn_chat_open(own_, nullptr, &chat, error);
    if (status == CAIRN_OK) status = cairn_chat_send(chat, "Find 3", &options, &result, error);
    cairn_chat_close(chat);
    return status;
  }
  using By = cairn_status (CapiTools::*)(const GenerateOptions&, Result&, cairn_error*) const;
  static constexpr By kAll[] = {&CapiTools::by_session, &CapiTools::by_batch, &CapiTools::by_chat};

  cairn_model* calling_ = nullptr;
  cairn_engine* calling_engine_ = nullptr;
  cairn_session* own_ = nullptr;
  cairn_batch* batch_ = nullptr;
};

std::vector<const char*> libraries() {
  if (!cairn::testing::was_built(GrammarPlugin::kLibrary)) return {};
  return {"built"};
}

class XGrammarCapiTools : public CapiTools, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override { cairn::testing::look_beside_the_program(); }
};

TEST_P(XGrammarCapiTools, CallsAreToldFromText) {
  const auto biases = well();
  for (const By by : kAll) {
    Heard heard;
    GenerateOptions options(300);
    options.tools = kTools;
    options.regex = kForced;
    options.biases = biases.data();
    options.bias_count = biases.size();
    options.on_token = Heard::token;
    options.user = &heard;
    Result result;
    EXPECT_OK((this->*by)(options, result, error));
    EXPECT_EQ(result.str(), "Well.");
    EXPECT_EQ(heard.text, "Well.");
    EXPECT_EQ(result.finish, CAIRN_FINISH_STOP);
    EXPECT_THAT(heard.pieces, ElementsAre("0:Well.", "2:find", "3:{\"n\": 3}", "2:now", "3:{}"));
    ASSERT_EQ(result.call_count, 2u);
    EXPECT_STREQ(result.calls[0].name, "find");
    EXPECT_STREQ(result.calls[0].arguments, "{\"n\": 3}");
    EXPECT_STREQ(result.calls[1].name, "now");
    EXPECT_THAT(heard.ids, ElementsAre(result.calls[0].id, result.calls[1].id));
    const Json message = Json::parse(result.message);
    EXPECT_EQ(message["content"], "Well.");
    EXPECT_EQ(message["tool_calls"][0]["function"]["arguments"], "{\"n\": 3}");
    EXPECT_EQ(message["tool_calls"][1]["id"], result.calls[1].id);
  }
}

TEST_P(XGrammarCapiTools, RequiredCallsMeetTheirSchemas) {
  for (const float temperature : {0.0f, 2.0f}) {
    for (const By by : kAll) {
      GenerateOptions options(300);
      options.tools = kTools;
      options.tool_choice = R"({"type": "function", "function": {"name": "find"}})";
      options.one_call = 1;
      options.temperature = temperature;
      options.seeded = 1;
      Result result;
      EXPECT_OK((this->*by)(options, result, error));
      ASSERT_EQ(result.call_count, 1u);
      EXPECT_STREQ(result.calls[0].name, "find");
      const Json arguments = Json::parse(result.calls[0].arguments);
      EXPECT_TRUE(arguments["n"].is_number_integer() && arguments.size() == 1) << arguments;
      EXPECT_EQ(result.str(), "");
      EXPECT_TRUE(Json::parse(result.message)["content"].is_null());
      options.tool_choice = "required";
      Result any;
      EXPECT_OK((this->*by)(options, any, error));
      EXPECT_EQ(any.call_count, 1u);
    }
  }
}

TEST_P(XGrammarCapiTools, NoneIsText) {
  GenerateOptions options(300);
  options.tools = kTools;
  options.tool_choice = "none";
  options.regex = kForced;
  Result result;
  EXPECT_OK(by_session(options, result, error));
  EXPECT_EQ(result.call_count, 0u);
  EXPECT_THAT(result.str(), HasSubstr("<call>{\"name\": \"now\""));
  EXPECT_EQ(Json::parse(result.message)["content"], result.str());
}

TEST_P(XGrammarCapiTools, AChatGoesOnWithTheResults) {
  cairn_chat* chat = nullptr;
  EXPECT_OK(cairn_chat_open(own_, nullptr, &chat, error));
  GenerateOptions options(300);
  options.tools = kTools;
  options.regex = kForced;
  const auto biases = well();
  options.biases = biases.data();
  options.bias_count = biases.size();
  Result called, answered;
  EXPECT_OK(cairn_chat_send(chat, "Find 3", &options, &called, error));
  options.tool_choice = "none";  // it might call again otherwise
  options.regex = "Three\\.";
  const Json results = {
      {{"role", "tool"}, {"tool_call_id", called.calls[0].id}, {"content", "here"}},
      {{"role", "tool"}, {"tool_call_id", called.calls[1].id}, {"content", "noon"}},
  };
  EXPECT_OK(cairn_chat_send_messages(chat, results.dump().c_str(), &options, &answered, error));
  EXPECT_EQ(answered.str(), "Three.");
  Text saved;
  EXPECT_OK(cairn_chat_save(chat, &saved, error));
  const Json conversation = Json::parse(saved.str());
  EXPECT_EQ(conversation["text"],
            "(user)Find 3;(assistant)Well.<call>{\"name\": \"find\", \"arguments\": {\"n\": "
            "3}}</call><call>{\"name\": \"now\", \"arguments\": {}}</call>;(tool)here;(tool)noon;"
            "(assistant)Three.");
  // Without tools the calls of before are still what the template takes.
  options.tools = nullptr;
  EXPECT_OK(cairn_chat_regenerate(chat, &options, nullptr, error));
  EXPECT_OK(cairn_chat_restore(chat, saved.str().c_str(), error));
  EXPECT_REFUSED(CAIRN_FORMAT, "a message needs a role",
                 cairn_chat_send_messages(chat, R"([{"role": "tool"}])", &options, nullptr, error));
  EXPECT_REFUSED(CAIRN_FORMAT, "no JSON", cairn_chat_send_messages(chat, "[", &options, nullptr, error));
  Text again;
  EXPECT_OK(cairn_chat_save(chat, &again, error));
  EXPECT_EQ(Json::parse(again.str())["messages"], conversation["messages"]);
  cairn_chat_close(chat);
}

TEST_P(XGrammarCapiTools, AnOlderProgramGetsNoMessage) {
  GenerateOptions options(300);
  options.tools = kTools;
  options.regex = kForced;
  const auto biases = well();
  options.biases = biases.data();
  options.bias_count = biases.size();
  Result result;
  result.size = offsetof(cairn_result, message);
  result.message = reinterpret_cast<char*>(&result);  // what lies behind an older struct
  EXPECT_OK(by_session(options, result, error));
  EXPECT_EQ(result.str(), "Well.");
  EXPECT_EQ(result.message, reinterpret_cast<char*>(&result));
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(XGrammarCapiTools);
INSTANTIATE_TEST_SUITE_P(Library, XGrammarCapiTools, ::testing::ValuesIn(libraries()),
                         [](const auto&) { return "Built"; });

TEST_F(CapiTools, AreToldInThePrompt) {
  EXPECT_EQ(rendered(kUser, kTools), "[now][find](user)Find 3;(assistant)");
  EXPECT_EQ(rendered(kUser, nullptr), "(user)Find 3;(assistant)");
  EXPECT_EQ(rendered(kUser, nullptr, R"({"tools": [{"function": {"name": "as it is"}}]})"),
            "[as it is](user)Find 3;(assistant)");
  const char* const called =
      R"([{"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function",
           "function": {"name": "find", "arguments": "{\"n\": 3}"}}]},
          {"role": "tool", "tool_call_id": "1", "content": "here"}])";
  EXPECT_EQ(rendered(called, nullptr),
            "(assistant)<call>{\"name\": \"find\", \"arguments\": {\"n\": 3}}</call>;(tool)here;(assistant)");
  open("{% for m in messages %}({{ m.role }}){{ m.content }};{% endfor %}");
  EXPECT_THAT(rendered(kUser, kTools), ::testing::AllOf(HasSubstr("(system)# Tools"), HasSubstr("\"find\"")));
  EXPECT_EQ(rendered(called, nullptr),
            "(assistant)<tool_call>\n{\"name\":\"find\",\"arguments\":{\"n\":3}}\n</tool_call>;"
            "(user)<tool_response>\nhere\n</tool_response>;");
}

TEST_F(CapiTools, WhatCannotBeReadIsRefusedWithItsPlace) {
  const auto refused = [&](const char* tools, const char* choice, const char* part,
                           cairn_status status = CAIRN_INVALID_ARGUMENT) {
    GenerateOptions options;
    options.tools = tools;
    options.tool_choice = choice;
    for (const By by : kAll) {
      Result result;
      EXPECT_REFUSED(status, part, (this->*by)(options, result, error));
      EXPECT_EQ(result.message, nullptr);
    }
  };
  refused("{}", nullptr, "tools: an array was expected");
  refused("[", nullptr, "tools: no JSON", CAIRN_FORMAT);
  refused("[3]", nullptr, "tools[0]: an object was expected");
  refused(R"([{"function": {"name": "a b"}}])", nullptr, "tools[0].function.name: up to 64 letters");
  refused(R"([{"function": {"name": "a"}}, {"function": {"name": "a"}}])", nullptr, "two functions 'a'");
  refused(R"([{"function": {"name": "a", "parameters": 3}}])", nullptr, "a JSON schema was expected");
  refused(R"([{"function": {"name": "a", "strict": 3}}])", nullptr, "true or false was expected");
  refused(kTools, "perhaps", "tool_choice: none, auto, required");
  refused(kTools, "{", "tool_choice: no JSON", CAIRN_FORMAT);
  refused(kTools, "{}", "tool_choice: it names no function");
  refused(kTools, R"({"function": {"name": "x"}})", "tool_choice: there is no function 'x'");
  refused("[]", "required", "tool_choice: there is no function among the tools");
  refused(nullptr, "required", "tool_choice: there is no function among the tools");
  cairn_template_options options;
  cairn_template_options_init(&options, sizeof options);
  options.tools = "[3]";
  Text text;
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "tools[0]",
                 cairn_template_render(calling_, kUser, &options, &text, nullptr, error));
  options.tools = nullptr;
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "messages[0].tool_calls[0].function: an object was expected",
                 cairn_template_render(calling_, R"([{"role": "assistant", "tool_calls": [3]}])", &options,
                                       &text, nullptr, error));
}

TEST_F(CapiTools, RequiredIsRefusedByNameWithoutTheLibrary) {
  const cairn::testing::ScopedVariable lib("CAIRN_LIB", "/nowhere");
  GenerateOptions options;
  options.tools = kTools;
  options.tool_choice = "required";
  for (const By by : kAll) {
    Result result;
    EXPECT_REFUSED(CAIRN_UNSUPPORTED, "tools: libcairn_grammar.so is not there",
                   (this->*by)(options, result, error));
  }
  options.tool_choice = "auto";
  Result result;
  EXPECT_OK(by_session(options, result, error));
  EXPECT_EQ(result.token_count, 12u);
  EXPECT_EQ(Json::parse(result.message)["content"], result.str());
}

// What on_prompt tells.
struct Prompt {
  struct One {
    int32_t token;
    float logprob;
    std::vector<int32_t> top;
  };
  std::vector<One> all;
  static void read(void* user, uint32_t first, const cairn_prompt_token* tokens, size_t count) {
    auto& all = static_cast<Prompt*>(user)->all;
    all.resize(first - 1);
    for (const cairn_prompt_token* one = tokens; one != tokens + count; ++one) {
      all.push_back({one->token, one->logprob, {}});
      for (size_t i = 0; i < one->top_count; ++i) all.back().top.push_back(one->top[i].token);
    }
  }
};

// The distribution behind a prompt: of its first answer's token.
struct Behind {
  std::vector<cairn_token_logprob> all;
  static int token(void* user, const cairn_token_event* event) {
    if (event->token >= 0) static_cast<Behind*>(user)->all.assign(event->top, event->top + event->top_count);
    return 0;
  }
};

TEST_F(CapiTools, APromptsLogprobsAreThoseOfAnswersInItsPlace) {
  std::string text;
  for (int i = 0; i < 12; ++i) text += std::string(kText) + " ";  // more than one piece
  auto read = tokens(text);
  read.resize(100);
  Prompt alone, among;
  GenerateOptions options(1);
  options.logprobs = 1;
  options.top_logprobs = 2;
  options.on_prompt = Prompt::read;
  options.user = &alone;
  EXPECT_OK(cairn_session_generate(own_, read.data(), 3, &options, nullptr, error));  // which is kept
  EXPECT_OK(cairn_session_generate(own_, read.data(), read.size(), &options, nullptr, error));
  options.user = &among;
  cairn_request* request = nullptr;
  EXPECT_OK(cairn_batch_submit(batch_, read.data(), read.size(), &options, 0, nullptr, &request, error));
  EXPECT_OK(cairn_request_wait(request, nullptr, error));
  cairn_request_close(request);
  ASSERT_EQ(alone.all.size(), read.size() - 1);
  ASSERT_EQ(among.all.size(), read.size() - 1);
  for (size_t i = 1; i < read.size(); ++i) {
    Behind behind;
    GenerateOptions next(1);
    next.logprobs = 1;
    next.top_logprobs = 1000000;
    next.on_token = Behind::token;
    next.user = &behind;
    EXPECT_OK(cairn_session_generate(own_, read.data(), i, &next, nullptr, error));
    for (const Prompt* one : {&alone, &among}) {
      const auto& told = one->all[i - 1];
      EXPECT_EQ(told.token, read[i]);
      ASSERT_EQ(told.top.size(), 2u);
      EXPECT_EQ(told.top[0], behind.all[0].token);
      const auto wanted = std::find_if(behind.all.begin(), behind.all.end(),
                                       [&](const auto& likely) { return likely.token == read[i]; });
      ASSERT_NE(wanted, behind.all.end());
      EXPECT_NEAR(told.logprob, wanted->logprob, 1e-3) << i;
    }
  }
  options.logprobs = 0;
  options.top_logprobs = 0;
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "on_prompt",
                 cairn_session_generate(own_, read.data(), read.size(), &options, nullptr, error));
}

}  // namespace
}  // namespace cairn::capi
