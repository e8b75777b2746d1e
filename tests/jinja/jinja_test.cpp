// The template interpreter against jinja2: small templates whose output jinja2 wrote
// (tools/make_template_golden.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <thread>

#include "base/error.hpp"
#include "text/chat_template.hpp"
#include "text/template_golden.hpp"

namespace cairn::jinja {
namespace {

using testing::HasSubstr;

std::string render(const std::string& source,
                   const nlohmann::ordered_json& variables = nlohmann::ordered_json::object()) {
  return text::ChatTemplate(source, text::golden_clock).render(variables);
}

Error error_of(const std::string& source,
               const nlohmann::ordered_json& variables = nlohmann::ordered_json::object()) {
  try {
    const std::string text = render(source, variables);
    ADD_FAILURE() << source << " rendered " << text.substr(0, 100);
  } catch (const Error& error) {
    return error;
  }
  return {ErrorCode::io, "no error"};
}

TEST(Jinja, RendersConstructsAsJinja2Does) {
  const auto golden = text::read_golden("constructs.json");
  size_t rendered = 0;
  for (const auto& expected : golden["cases"]) {
    text::expect_golden(expected["template"], golden["variables"], expected);
    rendered += expected.contains("text") ? 1 : 0;
  }
  EXPECT_GT(golden["cases"].size(), 800u);
  EXPECT_GT(rendered, 500u);
}

TEST(Jinja, NamesLineAndColumn) {
  EXPECT_STREQ(error_of("one\n  {{ 'é' ~ nothing.at }}").what(),
               "chat template, line 2, column 19: 'nothing' is undefined");
  EXPECT_STREQ(error_of("{% set x = 1 %}\n\n{% frob %}").what(),
               "chat template, line 3, column 4: Encountered unknown tag 'frob'.");
  EXPECT_STREQ(error_of("{{ 1 }}{{ (2 }}").what(),
               "chat template, line 1, column 14: unexpected '}', expected ')'");
  EXPECT_STREQ(error_of("{% for i in [1] %}\r\n{{ i + 'a' }}{% endfor %}").what(),
               "chat template, line 2, column 6: unsupported operand type(s) for +: 'int' and 'str'");
  EXPECT_STREQ(error_of("{{ raise_exception('no system role') }}").what(),
               "chat template, line 1, column 19: no system role");
}

TEST(Jinja, NamesUnsupportedConstructs) {
  for (const auto& [source, name] : std::vector<std::pair<std::string, std::string>>{
           {"{% include 'a' %}", "line 1, column 4: the tag 'include'"},
           {"{% extends 'a' %}", "'extends'"},
           {"{% block a %}{% endblock %}", "'block'"},
           {"{% autoescape true %}{% endautoescape %}", "'autoescape'"},
           {"a\n{{ 'x' | urlize }}", "line 2, column 10: No filter named 'urlize'"},
           {"{{ 'x' | frobnicate }}", "No filter named 'frobnicate'"},
           {"{% if true %}{{ 'x' | random }}{% endif %}", "No filter named 'random'"},
           {"{{ 1 is prime }}", "line 1, column 6: No test named 'prime'"},
           {"{{ cycler(1) }}", "the function 'cycler'"},
           {"{{ 'x'.encode() }}", "the attribute 'encode' of 'str'"},
           {"{{ 9223372036854775807 + 1 }}", "an integer beyond 64 bits"},
           {"{{ 99999999999999999999 }}", "an integer beyond 64 bits"},
           {"{{ (-8) ** 0.5 }}", "complex numbers"},
           {"{{ '\\ud83d' }}", "a surrogate"},
           {"{{ '\\N{BULLET}' }}", "\\N{...}"}}) {
    const Error error = error_of(source);
    EXPECT_EQ(error.code(), ErrorCode::unsupported) << source << ": " << error.what();
    EXPECT_THAT(error.what(), HasSubstr(name)) << source;
  }
}

TEST(Jinja, TellsSyntaxErrorsFromFailures) {
  EXPECT_EQ(error_of("{{ 1 + }}").code(), ErrorCode::format);
  EXPECT_EQ(error_of("{% if 1 %}").code(), ErrorCode::format);
  EXPECT_EQ(error_of("{{ x.y }}").code(), ErrorCode::invalid_argument);
  EXPECT_EQ(error_of("{{ 1 / 0 }}").code(), ErrorCode::invalid_argument);
  EXPECT_EQ(error_of("{{ raise_exception('x') }}").code(), ErrorCode::invalid_argument);
  EXPECT_THROW(text::ChatTemplate("\xff"), Error);
  EXPECT_THROW(render("x", nlohmann::ordered_json::array()), Error);
}

std::string repeated(std::string_view piece, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += piece;
  return out;
}

TEST(Jinja, StopsTemplatesThatRunAway) {
  const std::string ns = "{% set ns = namespace(x='xxxxxxxx', l=[1], d=0) %}";
  for (const std::string& source : {
           // time
           std::string("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
           ns + "{% set ns.x = 'x' * 60000000 %}{% for a in range(99999) %}{{ 'y' in ns.x }}{% endfor %}",
           // memory
           std::string("{{ 'x' * 99999999999 }}"),
           std::string("{{ [0] * 99999999999 }}"),
           ns + "{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
           ns + "{% for i in range(99) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
           ns + "{% for i in range(40) %}{% set ns.l = [ns.l, ns.l, ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
           ns + "{% for i in range(99999) %}{% set ns.l = ns.l + ['x' * 100000] %}{% endfor %}",
           std::string("{{ 'x'|center(9999999999) }}"),
           std::string("{{ 'a'|indent(9999999999, true) }}"),
           std::string("{{ '%99999999999d' % 1 }}"),
           std::string("{{ '{:99999999999}'.format(1) }}"),
           std::string("{% for i in range(99999) %}{{ 'x' * 9999 }}{% endfor %}"),
           ns + "{{ ('x' * 9999999).replace('', 'yyyyyyyyyyyyyyyyyyyyyyyy')|length }}",
           // depth
           std::string("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
           std::string("{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}"),
           ns + "{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}",
           ns + "{% for i in range(9999) %}{% set ns.l = ns.l|map('string') %}{% endfor %}{{ ns.l|list }}",
           "{{ " + repeated("(", 50000) + "1" + repeated(")", 50000) + " }}",
           "{{ " + repeated("[", 50000) + "1" + repeated("]", 50000) + " }}",
           "{{ 1" + repeated(" + 1", 50000) + " }}",
           "{{ 'x'" + repeated("|upper", 50000) + " }}",
           "{{ x" + repeated(".a", 50000) + " }}",
           "{{ " + repeated("not ", 50000) + "x }}",
           "{{ " + repeated("-", 50000) + "1 }}",
           "{{ 1" + repeated(" if 1 else 1", 50000) + " }}",
           repeated("{% if true %}", 50000) + repeated("{% endif %}", 50000),
           repeated("{% for i in [1] %}", 200) + repeated("{% endfor %}", 200),
           "{% set " + repeated("(", 50000) + "a" + repeated(")", 50000) + " = 1 %}",
           "{{ '" + repeated("{0:", 3000) + "'.format(1) }}",
       }) {
    try {
      const std::string text = render(source);
      ADD_FAILURE() << source.substr(0, 120) << " rendered " << text.size() << " bytes";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("chat template, line ")) << source.substr(0, 120);
    }
  }
}

TEST(Jinja, StopsAtDeepVariables) {
  nlohmann::ordered_json deep = 1;
  for (int i = 0; i < 500; ++i) deep = nlohmann::ordered_json::array({std::move(deep)});
  EXPECT_THROW(render("{{ x }}", {{"x", deep}}), Error);
  EXPECT_THROW(render("{{ x }}", {{"x", UINT64_MAX}}), Error);
}

TEST(Jinja, MendsBrokenText) {
  nlohmann::ordered_json variables;
  variables["x"] = "a\xff\xc3(";
  EXPECT_EQ(render("{{ x }}{{ x|length }}", variables), "a\uFFFD\uFFFD(4");
}

TEST(Jinja, LetsGoOfCycles) {  // leak checkers see what is left behind
  EXPECT_EQ(
      render("{% set ns = namespace() %}{% set ns.me = [ns] %}{% macro m() %}{{ n }}{% endmacro %}"
             "{% set ns.m = m %}{% for i in [1, 2] %}{% macro k() %}{{ i }}{% endmacro %}{% set ns.k = k %}"
             "{% set ns.loop = loop %}{% endfor %}{{ ns.k() }}{{ ns.loop.index }}"),
      "22");
}

TEST(Jinja, RendersInSeveralThreads) {
  const text::ChatTemplate shared(
      "{% macro m(x) %}{{ x|upper }}{% endmacro %}{% for i in range(50) %}{{ m('a' ~ i) }}{% endfor %}");
  const std::string expected = shared.render(nlohmann::ordered_json::object());
  std::vector<std::string> outputs(4);
  std::vector<std::thread> threads;
  for (auto& output : outputs) {
    threads.emplace_back([&] { output = shared.render(nlohmann::ordered_json::object()); });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& output : outputs) EXPECT_EQ(output, expected);
}

}  // namespace
}  // namespace cairn::jinja
