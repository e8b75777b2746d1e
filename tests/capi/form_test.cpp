// What answers are held to, and how likely their tokens were: as C++ has it, alone and in batches. Tests
// whose suite is called XGrammar… exist where libcairn_grammar.so was built.
#include <cstddef>
#include <cstring>
#include <nlohmann/json.hpp>
#include <regex>

#include "base/own_library.hpp"
#include "base/plugin.hpp"
#include "base/temporary_folder.hpp"
#include "grammar/compiler.hpp"
#include "support.hpp"

namespace cairn::capi {
namespace {

using grammar::Kind;

constexpr const char* kSchema =
    R"({"type": "object", "required": ["a", "b"],
        "properties": {"a": {"enum": ["x", "yy"]}, "b": {"type": "integer", "minimum": 0, "maximum": 9}}})";
constexpr const char* kRegex = "[a-f]{3,9}(yes|no)\\.";
constexpr const char* kGrammar = "root ::= word (\" \" word){0,5} \"!\"\nword ::= [a-z] | \"stone\" | \"ö\"";

// The events of an answer.
struct Heard {
  struct Event {
    int32_t token;
    float logprob;
    std::vector<cairn_token_logprob> top;
    bool none;
  };
  std::vector<Event> events;
  static int token(void* user, const cairn_token_event* event) {
    static_cast<Heard*>(user)->events.push_back(
        {event->token, event->logprob, {event->top, event->top + event->top_count}, event->top == nullptr});
    return 0;
  }
};

class CapiForm : public Capi {
 protected:
  CapiForm() { EXPECT_OK(cairn_batch_open(engine_, nullptr, &batch_, error)); }
  ~CapiForm() override { cairn_batch_close(batch_); }

  cairn_status by_session(const GenerateOptions& options, Result& result, cairn_error* error) const {
    const auto prompt = tokens(kText);
    return cairn_session_generate(session_, prompt.data(), prompt.size(), &options, &result, error);
  }
  cairn_status by_batch(const GenerateOptions& options, Result& result, cairn_error* error) const {
    const auto prompt = tokens(kText);
    cairn_request* request = nullptr;
    cairn_status status =
        cairn_batch_submit(batch_, prompt.data(), prompt.size(), &options, 0, nullptr, &request, error);
    if (status == CAIRN_OK) status = cairn_request_wait(request, &result, error);
    cairn_request_close(request);
    return status;
  }
  // Refused by all who answer, before anything is read.
  void expect_refused(const GenerateOptions& options, cairn_status status, const char* part) const {
    Heard heard;
    GenerateOptions listening = options;
    listening.on_token = Heard::token;
    listening.on_progress = [](void*, uint32_t, uint32_t) { ADD_FAILURE() << "the prompt was read"; };
    listening.user = &heard;
    Result result;
    EXPECT_REFUSED(status, part, by_session(listening, result, error));
    EXPECT_REFUSED(status, part, by_batch(listening, result, error));
    cairn_chat* chat = nullptr;
    EXPECT_OK(cairn_chat_open(session_, nullptr, &chat, error));
    EXPECT_REFUSED(status, part, cairn_chat_send(chat, "x", &listening, &result, error));
    cairn_chat_close(chat);
    EXPECT_TRUE(heard.events.empty());
    EXPECT_EQ(result.text, nullptr);
  }

  cairn_batch* batch_ = nullptr;
};

std::vector<const char*> libraries() {
  if (!cairn::testing::was_built(GrammarPlugin::kLibrary)) return {};
  return {"built"};
}

class XGrammarCapi : public CapiForm, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override { cairn::testing::look_beside_the_program(); }
};

TEST_P(XGrammarCapi, AnswersAreThoseOfCppAndMatch) {
  const auto model = llm::Model::load(path_);
  grammar::Compiler compiler(model->tokenizer());
  struct Form {
    Kind kind;
    const char *text, *GenerateOptions::*field;
    bool (*meets)(const std::string& text);
  };
  const std::vector<Form> forms = {
      {Kind::json_schema, kSchema, &GenerateOptions::json_schema,
       [](const std::string& text) {
         const auto json = nlohmann::json::parse(text);
         return (json["a"] == "x" || json["a"] == "yy") && json["b"].is_number_integer() && json.size() == 2;
       }},
      {Kind::regex, kRegex, &GenerateOptions::regex,
       [](const std::string& text) { return std::regex_match(text, std::regex(kRegex)); }},
      {Kind::ebnf, kGrammar, &GenerateOptions::grammar, [](const std::string& text) {
         return std::regex_match(text, std::regex("([a-z]|stone|ö)( ([a-z]|stone|ö)){0,5}!"));
       }}};
  for (const Form& form : forms) {
    for (const float temperature : {0.0f, 2.0f}) {
      SCOPED_TRACE(std::string(form.text) + " at " + std::to_string(temperature));
      llm::GenerateOptions cpp = greedy(100);
      cpp.sampler.temperature = temperature;
      cpp.sampler.seed = 4;
      cpp.grammar = compiler.compile(form.kind, form.text);
      const llm::Result wanted = expected(tokens(kText), cpp);
      GenerateOptions options(100);
      options.temperature = temperature;
      options.seeded = 1;
      options.seed = 4;
      const std::string text = form.text;  // which goes before the request is answered
      options.*form.field = text.c_str();
      Result alone, among;
      EXPECT_OK(by_session(options, alone, error));
      EXPECT_EQ(alone.ids(), wanted.tokens);
      EXPECT_OK(by_batch(options, among, error));
      EXPECT_EQ(among.ids(), wanted.tokens);
      EXPECT_EQ(alone.finish, CAIRN_FINISH_STOP);
      EXPECT_TRUE(form.meets(alone.str())) << alone.str();
      EXPECT_OK(cairn_session_clear(session_, error));
    }
  }
}

TEST_P(XGrammarCapi, AChatsTurnMatches) {
  cairn_chat* chat = nullptr;
  EXPECT_OK(cairn_chat_open(session_, nullptr, &chat, error));
  GenerateOptions options(20);
  options.regex = "(yes|no)\\.";
  Result result;
  EXPECT_OK(cairn_chat_send(chat, "Is 7 prime?", &options, &result, error));
  EXPECT_THAT(result.str(), ::testing::AnyOf("yes.", "no."));
  cairn_chat_close(chat);
}

TEST_P(XGrammarCapi, WhatCannotBeEnforcedIsRefusedWithItsPlace) {
  GenerateOptions options;
  const auto schema = [&](const char* text, const char* part) {
    options.json_schema = text;
    expect_refused(options, CAIRN_INVALID_ARGUMENT, part);
  };
  schema(R"({"type": "object", "properties": {"a": {"not": {}}}})", "the schema, at /properties/a: 'not'");
  schema(R"({"type": "array", "items": {"type": "strange"}})", "at /items: there is no type \"strange\"");
  schema("{", "the schema is no JSON");
  schema("", "the schema is no JSON");
  schema("{\"const\": \"\xff\"}", "the schema is no JSON");
  schema(std::string(100000, '[').c_str(), "levels");
  schema((R"({"const": ")" + std::string(1 << 18, 'x') + "\"}").c_str(), "at most 262144 are taken");
  options.json_schema = nullptr;
  options.regex = "(a";
  expect_refused(options, CAIRN_INVALID_ARGUMENT,
                 "the regular expression: Regex parsing error at position 3");
  options.regex = nullptr;
  options.grammar = "start ::= \"a\"";
  expect_refused(options, CAIRN_INVALID_ARGUMENT, "the grammar: EBNF parser error at line 1");
  options.grammar = "root ::= \"a\"";
  options.ignore_end = 1;
  expect_refused(options, CAIRN_INVALID_ARGUMENT, "cannot go on behind the end");
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(XGrammarCapi);
INSTANTIATE_TEST_SUITE_P(Library, XGrammarCapi, ::testing::ValuesIn(libraries()),
                         [](const auto&) { return "Built"; });

TEST_F(CapiForm, IsRefusedByNameWithoutTheLibrary) {
  const cairn::testing::ScopedVariable lib("CAIRN_LIB", "/nowhere");
  for (const auto field :
       {&GenerateOptions::json_schema, &GenerateOptions::regex, &GenerateOptions::grammar}) {
    GenerateOptions options;
    options.*field = "{}";
    expect_refused(options, CAIRN_UNSUPPORTED, "libcairn_grammar.so is not there");
  }
  Result result;
  EXPECT_OK(by_session(GenerateOptions(), result, error));
  EXPECT_EQ(result.token_count, 12u);
}

TEST_F(CapiForm, OneAtATime) {
  GenerateOptions options;
  options.json_schema = "{}";
  options.grammar = "root ::= \"a\"";
  expect_refused(options, CAIRN_INVALID_ARGUMENT, "grammar: an answer cannot be held to json_schema too");
  options.json_schema = nullptr;
  options.regex = "a";
  expect_refused(options, CAIRN_INVALID_ARGUMENT, "grammar: an answer cannot be held to regex too");
}

TEST_F(CapiForm, LogprobsAreThoseOfCpp) {
  const auto prompt = tokens(kText);
  for (const uint32_t top : {0u, 3u, 100000u}) {
    SCOPED_TRACE(top);
    llm::GenerateOptions cpp = greedy();
    cpp.sampler.temperature = 1.5;
    cpp.sampler.seed = 9;
    cpp.logprobs = top;
    std::vector<llm::TokenLogprobs> wanted;
    const auto model = llm::Model::load(path_);
    model->make_session({.context = kContext, .threads = 2})
        .generate(prompt, cpp, [&](const llm::TokenEvent& event) {
          if (event.logprobs != nullptr) wanted.push_back(*event.logprobs);
          return true;
        });
    ASSERT_EQ(wanted.size(), 12u);
    GenerateOptions options;
    options.temperature = 1.5;
    options.seeded = 1;
    options.seed = 9;
    options.logprobs = 1;
    options.top_logprobs = top;
    options.on_token = Heard::token;
    for (const bool batch : {false, true}) {
      Heard heard;
      options.user = &heard;
      Result result;
      if (batch) {
        EXPECT_OK(by_batch(options, result, error));
      } else {
        EXPECT_OK(by_session(options, result, error));
        EXPECT_OK(cairn_session_clear(session_, error));
      }
      ASSERT_GE(heard.events.size(), wanted.size());
      for (size_t i = 0; i < wanted.size(); ++i) {
        EXPECT_EQ(heard.events[i].token, wanted[i].token);
        EXPECT_EQ(heard.events[i].logprob, wanted[i].logprob);
        ASSERT_EQ(heard.events[i].top.size(), wanted[i].top.size());
        for (size_t j = 0; j < wanted[i].top.size(); ++j) {
          EXPECT_EQ(heard.events[i].top[j].token, wanted[i].top[j].token);
          EXPECT_EQ(heard.events[i].top[j].logprob, wanted[i].top[j].logprob);
        }
      }
      for (size_t i = wanted.size(); i < heard.events.size(); ++i) EXPECT_TRUE(heard.events[i].none);
    }
  }
}

TEST_F(CapiForm, NoLogprobsUnlessAskedFor) {
  Heard heard;
  GenerateOptions options;
  options.on_token = Heard::token;
  options.user = &heard;
  Result result;
  EXPECT_OK(by_session(options, result, error));
  ASSERT_GE(heard.events.size(), 12u);
  for (const auto& event : heard.events) {
    EXPECT_EQ(event.logprob, 0);
    EXPECT_TRUE(event.none);
  }
  options.top_logprobs = 2;
  options.on_token = nullptr;
  expect_refused(options, CAIRN_INVALID_ARGUMENT, "top_logprobs: 2 without logprobs");
}

TEST_F(CapiForm, AnOlderProgramAsksForNeither) {
  cairn_generate_options old;
  std::memset(&old, 0x5a, sizeof old);
  cairn_generate_options_init(&old, offsetof(cairn_generate_options, json_schema));
  old.max_tokens = 12;
  old.temperature = 0;
  const auto prompt = tokens(kText);
  Result result;
  EXPECT_OK(cairn_session_generate(session_, prompt.data(), prompt.size(), &old, &result, error));
  EXPECT_EQ(result.ids(), expected(prompt, greedy()).tokens);
}

}  // namespace
}  // namespace cairn::capi
