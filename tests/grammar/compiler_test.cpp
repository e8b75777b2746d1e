// Grammars by libcairn_grammar.so over a vocabulary of bytes and some longer tokens. Tests whose suite is
// called XGrammar exist where that library was built.
#include "grammar/compiler.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "base/expect_error.hpp"
#include "base/own_library.hpp"
#include "base/plugin.hpp"
#include "base/temporary_folder.hpp"
#include "grammar/structure.hpp"
#include "llm/fake_tokenizer.hpp"

namespace cairn::grammar {
namespace {

using Json = nlohmann::ordered_json;
using cairn::testing::expect_error;
using llm::fake::kEnd;

std::shared_ptr<const llm::fake::Tokenizer> tokenizer() {
  return std::make_shared<llm::fake::Tokenizer>(
      std::vector<std::string>{"{\"", "\":", "\": ", "true", "}}", "12", "ab", "abc", "\"}", "ö", "\n\n"});
}

std::vector<const char*> kinds_of_library() {
  if (!cairn::testing::was_built(GrammarPlugin::kLibrary)) return {};
  return {"built"};
}

class XGrammar : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { cairn::testing::look_beside_the_program(); }
  std::shared_ptr<const Grammar> compile(Kind kind, std::string_view text) {
    return compiler_.compile(kind, text);
  }
  // Whether the whole text, byte for byte, and then the end is allowed.
  static bool matches(const Grammar& grammar, std::string_view text) {
    const auto matcher = grammar.begin();
    for (const char c : text) {
      if (!matcher->accept(static_cast<unsigned char>(c))) return false;
    }
    EXPECT_EQ(matcher->can_end(), allowed(*matcher)[kEnd]) << text;
    return matcher->accept(kEnd);
  }
  static std::vector<bool> allowed(Matcher& matcher) {
    const size_t tokens = tokenizer()->vocabulary();
    std::vector<uint32_t> bits((tokens + 31) / 32);
    matcher.allowed(bits);
    std::vector<bool> all(tokens);
    for (size_t i = 0; i < tokens; ++i) all[i] = (bits[i / 32] >> i % 32 & 1) != 0;
    return all;
  }
  void expect_refused(Kind kind, const std::string& text, const std::string& why) {
    SCOPED_TRACE(text.substr(0, 100));
    expect_error(ErrorCode::invalid_argument, why, [&] { compile(kind, text); });
  }

  Compiler compiler_{tokenizer()};
};

TEST_P(XGrammar, TellsWhatMatches) {
  struct Case {
    Kind kind;
    const char* grammar;
    std::vector<const char*> right, wrong;
  };
  const std::vector<Case> cases = {
      {Kind::regex, "[a-c]+(\\.\\d{2})?", {"abc", "a.12"}, {"", "d", "a.1", "a.12 "}},
      {Kind::regex, "^(ja|nein)$", {"ja", "nein"}, {"jan", "j"}},
      {Kind::ebnf, "root ::= \"a\" root \"b\" | \"ö\"", {"ö", "aöb", "aaöbb"}, {"ab", "aöbb", "o"}},
      {Kind::ebnf,
       "# GBNF\nroot ::= item (\", \" item)*\nitem ::= [0-9]{1,3} | \"x\"?",
       {"1, 23", "x, ", ""},
       {"1234", "1,2"}},
      {Kind::json_schema,
       R"({"type": "object", "properties": {"a": {"type": "integer", "minimum": 3, "maximum": 12},
                              "b": {"type": "string", "minLength": 1, "maxLength": 2}}, "required": ["a"]})",
       {"{\"a\": 12}", "{ \"a\":3,\"b\":\"xy\"}"},
       {"{\"a\": 2}", "{\"a\": 13}", "{}", "{\"a\":3,\"b\":\"\"}", "{\"a\":3,\"b\":\"xyz\"}",
        "{\"a\":3,\"c\":1}", "{\"a\":3,}"}},
      {Kind::json_schema,
       R"({"type": "array", "items": {"enum": ["on", 1, null]}, "minItems": 1, "maxItems": 2})",
       {"[\"on\"]", "[1, null]"},
       {"[]", "[1,1,1]", "[\"off\"]"}},
      {Kind::json_schema,
       R"({"type": "string", "pattern": "^[ab]{2}$"})",
       {"\"ab\""},
       {"\"abc\"", "\"xab\"", "ab"}},
      {Kind::json_schema,
       R"({"type": "object"})",
       {"{}", "{\"any\": [1, {\"b\": true}]}"},
       {"[]", "{any: 1}", "{"}},
      {Kind::json_schema,
       R"({"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object", "required": ["v"], "properties":
          {"v": {"type": "number"}, "left": {"$ref": "#/$defs/tree"}}}}})",
       {"{\"v\": 1.5}", "{\"v\": -1, \"left\": {\"v\": 2e3}}"},
       {"{\"left\": {\"v\": 2}}", "{\"v\": 1, \"left\": {}}"}},
      {Kind::json_schema,
       R"({"required": ["a"], "properties": {"b": {"type": "null"}}, "additionalProperties": {"type": "integer"}})",
       {"{\"b\": null, \"a\": 1}"},
       {"{\"b\": null}", "{\"b\": null, \"a\": 1, \"b\": 2}", "{\"a\": null}"}},
      {Kind::structure,
       R"({"type": "structural_tag", "format": {"type": "sequence", "elements": [
          {"type": "const_string", "value": "<c>"}, {"type": "json_schema", "json_schema": {"type": "null"}}]}})",
       {"<c>null"},
       {"null", "<c>1"}},
  };
  for (const Case& one : cases) {
    const auto grammar = compile(one.kind, one.grammar);
    for (const char* text : one.right) EXPECT_TRUE(matches(*grammar, text)) << one.grammar << "\n" << text;
    for (const char* text : one.wrong) EXPECT_FALSE(matches(*grammar, text)) << one.grammar << "\n" << text;
  }
}

TEST_P(XGrammar, FormatsAreMetAsTheirRulesHaveIt) {
  struct Format {
    const char* name;
    std::vector<const char*> right, wrong;
  };
  const std::vector<Format> formats = {
      {"date", {"2024-02-28", "1999-12-31"}, {"2023-02-29", "2024-04-31", "2024-13-01", "24-01-01"}},
      {"time", {"23:59:59Z", "01:02:03.5+01:00"}, {"24:00:00Z", "01:02:03"}},
      {"date-time", {"2024-02-28T01:02:03Z"}, {"2024-02-28 01:02:03Z", "2024-02-28"}},
      {"duration", {"P3D", "PT5M", "P2W", "P1DT2H"}, {"P", "3D", "PT"}},
      {"email", {"a.b@c.org"}, {"a@b", "a..b@c.org", "@c.org"}},
      {"hostname", {"example.org", "a-b"}, {"-a", "a-", "a..b"}},
      {"ipv4", {"127.0.0.1", "255.255.255.255"}, {"127.0.0.01", "256.1.1.1", "1.2.3"}},
      {"ipv6", {"2001:db8:0:0:0:0:0:1"}, {"1:2", "g:0:0:0:0:0:0:1"}},
      {"uuid", {"123e4567-e89b-12d3-a456-426614174000"}, {"123e4567e89b12d3a456426614174000"}},
      {"uri", {"https://example.org/a/b"}, {"example.org", "http://"}}};
  for (const Format& format : formats) {
    const auto grammar = compile(Kind::json_schema, Json{{"type", "string"}, {"format", format.name}}.dump());
    for (const std::string text : format.right) EXPECT_TRUE(matches(*grammar, "\"" + text + "\"")) << text;
    for (const std::string text : format.wrong) EXPECT_FALSE(matches(*grammar, "\"" + text + "\"")) << text;
  }
}

// Along random texts the allowed tokens are just those that can be accepted, and taking back is exact.
TEST_P(XGrammar, AllowsWhatItAccepts) {
  std::mt19937 random(7);
  for (const char* schema :
       {R"({"type": "object"})", R"({"type": "object", "properties": {"ab": {"type": "boolean"},
        "x": {"type": "array", "items": {"type": "string"}}}, "additionalProperties": {"type": "number"}})"}) {
    const auto grammar = compile(Kind::json_schema, schema);
    for (int text = 0; text < 20; ++text) {
      const auto matcher = grammar->begin();
      for (int step = 0; step < 40; ++step) {
        const std::vector<bool> bits = allowed(*matcher);
        std::vector<Token> right;
        for (size_t i = 0; i < bits.size(); ++i) {
          const auto token = static_cast<Token>(i);
          const bool accepted = matcher->accept(token);
          ASSERT_EQ(accepted, bits[i]) << "token " << i << " at step " << step;
          if (accepted) matcher->rollback(1);
          if (accepted && token != kEnd) right.push_back(token);
        }
        ASSERT_EQ(allowed(*matcher), bits) << "taken back";
        if (right.empty()) break;
        ASSERT_TRUE(matcher->accept(right[random() % right.size()]));
      }
    }
  }
}

TEST_P(XGrammar, ControlTokensNeverComeByThemselves) {
  const auto grammar = compile(Kind::json_schema, R"({"type": "string"})");
  const auto matcher = grammar->begin();
  ASSERT_TRUE(matcher->accept('"'));
  const std::vector<bool> bits = allowed(*matcher);
  EXPECT_FALSE(bits[llm::fake::kUser]);
  EXPECT_FALSE(bits[kEnd]);
  EXPECT_TRUE(bits['a']);
}

// A text of bytes and control tokens, and then the end.
bool matches_tokens(const Grammar& grammar, const std::string& text) {
  const auto matcher = grammar.begin();
  for (const Token token : tokenizer()->encode(text, {.add_bos = false, .parse_special = true})) {
    if (!matcher->accept(token)) return false;
  }
  return matcher->accept(kEnd);
}

TEST_P(XGrammar, AStructureIsItsPartsOneBehindTheOther) {
  const auto made = [&](const Structure& structure) { return compile(Kind::structure, structure.text()); };
  const Json null = {{"type", "null"}};
  const auto marks = made(Structure(*tokenizer()).mark("<|user|>call").schema(null).mark("<|end|>"));
  EXPECT_TRUE(matches_tokens(*marks, "<|user|>callnull"));
  EXPECT_FALSE(matches_tokens(*marks, "callnull"));
  EXPECT_FALSE(matches(*marks, "<|user|>callnull")) << "spelled in bytes it is no control token";
  const auto thought = made(Structure(*tokenizer()).text_up_to("</t>").blanks().part(Kind::regex, "ab"));
  EXPECT_TRUE(matches_tokens(*thought, "<hm</t</t> \nab"));
  EXPECT_FALSE(matches_tokens(*thought, "ab"));
  EXPECT_FALSE(matches_tokens(*thought, "a</t>b</t>ab"));
  const auto cases = made(Structure(*tokenizer())
                              .either({Structure(*tokenizer()).mark("x"), Structure(*tokenizer()).mark("y")})
                              .optional(Structure(*tokenizer()).mark("?"))
                              .any_number(Structure(*tokenizer()).mark("!")));
  for (const char* right : {"x", "y?", "x!!", "y?!"}) EXPECT_TRUE(matches_tokens(*cases, right)) << right;
  for (const char* wrong : {"", "xy", "x!?"}) EXPECT_FALSE(matches_tokens(*cases, wrong)) << wrong;
  for (const char* mark : {"<c>", "<|user|>", "<|user|>[", "<c><|user|>"}) {
    const auto free =
        made(Structure(*tokenizer()).free_text_with(mark, Structure(*tokenizer()).schema(null).mark(";")));
    const std::string call = mark + std::string("null;");
    for (const std::string& right :
         {std::string(), std::string("text <b>"), call, "text " + call + " and " + call})
      EXPECT_TRUE(matches_tokens(*free, right)) << right;
    for (const std::string& wrong : {mark + std::string("1;"), "text " + std::string(mark)})
      EXPECT_FALSE(matches_tokens(*free, wrong)) << wrong;
  }
  expect_error(ErrorCode::invalid_argument, "'not' cannot be enforced", [&] {
    Structure(*tokenizer()).schema({{"not", Json::object()}});
  });
}

TEST_P(XGrammar, StringsHaveNoControlCharacters) {
  for (const char* schema : {R"({"type": "string"})", R"({"type": "string", "maxLength": 9})",
                             R"({"type": "string", "minLength": 1, "maxLength": 9})",
                             R"({"type": "string", "pattern": "^.*$"})"}) {
    const auto whole = compile(Kind::json_schema, schema);
    const auto part = compile(Kind::structure, Structure(*tokenizer()).schema(Json::parse(schema)).text());
    for (const auto& grammar : {whole, part}) {
      EXPECT_TRUE(matches(*grammar, "\"a b\"")) << schema;
      for (const char* wrong : {"\"a\tb\"", "\"a\nb\"", "\"a\x01\"", "\"a\x1f\""})
        EXPECT_FALSE(matches(*grammar, wrong)) << schema;
    }
  }
}

TEST_P(XGrammar, BrokenGrammarsAreRefused) {
  for (const char* broken : {"a(b", "[a", "*a", "a{2,1}"})
    expect_refused(Kind::regex, broken, "the regular expression: ");
  expect_refused(Kind::ebnf, "root ::= other", "other");
  expect_refused(Kind::ebnf, "root ::= \"a", "line 1");
  expect_refused(Kind::ebnf, "start ::= \"a\"", "root");
  expect_refused(Kind::ebnf, "", "root");
  expect_refused(Kind::structure, "{", "");
  expect_refused(Kind::ebnf, "root ::= root \"a\"", "");
  expect_refused(Kind::json_schema, R"({"type": "object", "not": {}})", "'not' cannot be enforced");
}

TEST_P(XGrammar, WhatItWouldPassOverIsRefused) {
  for (const char* expression : {"a(?=b)b", "(?!a)b", "a\\bb", "a|^b", "(a)\\1", "\\Aab", "(?<=a)b"})
    expect_refused(Kind::regex, expression, "");
  expect_refused(Kind::json_schema, R"({"type": "number", "multipleOf": 0.1})", "cannot be enforced");
  expect_refused(Kind::json_schema, R"({"type": "string", "pattern": "(?=a)b"})", "cannot be enforced");
}

TEST_P(XGrammar, HugeAndDeepOnesAreRefusedInTime) {
  expect_refused(Kind::ebnf, std::string(1 << 19, 'a'), "at most 262144 are taken");
  expect_refused(Kind::regex, std::string(100000, '('), "");
  expect_refused(Kind::ebnf, "root ::= " + std::string(100000, '('), "");
}

TEST_P(XGrammar, GreatRepetitionsAreCounted) {
  EXPECT_TRUE(matches(*compile(Kind::ebnf, "root ::= \"a\"{2,2000000000}"), "aaa"));
  EXPECT_TRUE(matches(*compile(Kind::regex, "[a-c]{2,2000000000}"), "abc"));
  EXPECT_FALSE(matches(*compile(Kind::regex, "([a-c]{1000}){200}"), "abc"));
}

// Each of these takes seconds to hours, in its making or at each token.
TEST_P(XGrammar, HostileRepetitionsAreRefusedAtOnce) {
  std::string optional, ambiguous, names;
  for (int i = 0; i < 5000; ++i) {
    optional += "a?";
    ambiguous += "(a|a)*";
    names += " \"a\"?";
  }
  for (const std::string& expression :
       {std::string("(((a{1000}){1000}){1000}){1000}"), std::string("((a|b){9000}c){1,9000}"),
        "(" + std::string(200, 'x') + "){99999999999999999999}"})
    expect_refused(Kind::regex, expression, "more than 262144 characters");
  for (const std::string& expression :
       {optional, ambiguous, std::string("(\\w+\\s?){1,500}"), std::string("(?:(.*){1,20}){1,20}"),
        std::string("((a?){9}b?){19,}c")})
    expect_refused(Kind::regex, expression, "times where something may come or not; at most 128 are taken");
  expect_refused(Kind::ebnf, "root ::= a\na ::=" + names, "at most 256 are taken");
  expect_refused(Kind::ebnf, "root ::= ([a-z]+ \" \"?){1,500}", "at most 256 are taken");
  expect_refused(Kind::ebnf, "root ::= (\"abc\"{1000}){1000}", "more than 262144 characters");
  expect_refused(Kind::json_schema,
                 Json{{"type", "string"}, {"pattern", ambiguous.substr(0, 6 * 129)}}.dump(),
                 "more than 128 times where something may come or not");
}

TEST_P(XGrammar, MatchingMayTakeSoLongAndNoLonger) {
  using std::chrono::nanoseconds;
  Compiler patient(tokenizer(), {.first = std::chrono::seconds(5), .each = nanoseconds(0)}),
      hasty(tokenizer(), {.first = nanoseconds(0), .each = nanoseconds(1)});
  for (int i = 0; i < 3; ++i) allowed(*patient.compile(Kind::regex, "a+")->begin());
  const auto grammar = hasty.compile(Kind::regex, "a+");
  expect_error(ErrorCode::unsupported, "s were spent on 1 tokens: what came so far can be read in too many",
               [&] { allowed(*grammar->begin()); });
}

TEST_P(XGrammar, WhatPeopleAskForIsTaken) {
  for (const char* expression :
       {"([A-Za-z']+ ){5,50}[a-z]+\\.", "(\\w+,){1,100}\\w+", "(\\d{1,3}\\.){3}\\d{1,3}", "[^\\n]{1,4000}",
        "(?:[1-9][0-9]*|0)(\\.[0-9]+)?([eE][+-]?[0-9]+)?", "[a-z?*+{}]{3}\\?\\*"})
    compile(Kind::regex, expression);
  std::string words = "(";
  for (int i = 0; i < 3000; ++i) words += "word" + std::to_string(i) + "|";
  compile(Kind::regex, words + "x)");
  std::string rules = "root ::= r0";
  for (int i = 0; i < 80; ++i) {
    rules += "\nr" + std::to_string(i) + " ::= [a-z]* \"?*+\" (\"b\" | \"c\")? # ****\n  r" +
             std::to_string(i + 1) + "?";
  }
  compile(Kind::ebnf, rules + "\nr80 ::= \"end\"{3}");
}

TEST_P(XGrammar, OneMatcherDoesNotDisturbAnother) {
  const auto grammar = compile(Kind::regex, "abc");
  const auto a = grammar->begin(), b = grammar->begin();
  EXPECT_TRUE(a->accept('a'));
  EXPECT_FALSE(b->accept('b'));
  EXPECT_TRUE(b->accept('a'));
  EXPECT_TRUE(a->accept('b'));
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(XGrammar);
INSTANTIATE_TEST_SUITE_P(Library, XGrammar, ::testing::ValuesIn(kinds_of_library()),
                         [](const auto&) { return "Built"; });

TEST(GrammarLibrary, OneThatIsNotThereIsNamed) {
  const cairn::testing::ScopedVariable lib("CAIRN_LIB", "/nowhere");
  Compiler compiler(tokenizer());
  expect_error(ErrorCode::not_found, "libcairn_grammar.so is not there: ./quickstart.sh --grammar",
               [&] { compiler.compile(Kind::regex, "a"); });
}

TEST(GrammarLibrary, OneOfAnotherBuildIsRefused) {
  const cairn::testing::TemporaryFolder folder;
  const auto put = [&](const std::string& which) {
    std::filesystem::remove(folder / "libcairn_grammar.so");
    std::filesystem::create_symlink(std::string(CAIRN_FAKE_PLUGINS) + "/libfake_plugin_" + which + ".so",
                                    folder / "libcairn_grammar.so");
  };
  const cairn::testing::ScopedVariable lib("CAIRN_LIB", folder.path().c_str());
  put("size");
  expect_error(ErrorCode::unsupported, "its cairn_grammar has",
               [&] { Compiler(tokenizer()).compile(Kind::regex, "a"); });
  put("build");
  expect_error(ErrorCode::unsupported, "it is of build",
               [&] { Compiler(tokenizer()).compile(Kind::regex, "a"); });
  put("same");
  expect_error(ErrorCode::unsupported, "the fake has no grammars",
               [&] { Compiler(tokenizer()).compile(Kind::regex, "a"); });
}

}  // namespace
}  // namespace cairn::grammar
