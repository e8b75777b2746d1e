// Functions that a model may call.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "grammar/compiler.hpp"
#include "llm/answer_parser.hpp"
#include "llm/chat.hpp"

namespace cairn::llm {

// What is wrong with a part of some JSON; the text begins with its place.
class FieldError : public Error {
 public:
  FieldError(const std::string& at, const std::string& why)
      : Error(ErrorCode::invalid_argument, at + ": " + why), at_(at), why_(why) {}
  const std::string& at() const noexcept { return at_; }  // "tools[0].function.name"
  const std::string& why() const noexcept { return why_; }

 private:
  std::string at_, why_;
};

// `tools`, `tool_choice` and `parallel_tool_calls` as OpenAI's API has them.
struct Tools {
  enum class Choice : uint8_t { none, automatic, required };

  std::vector<text::Tool>
      all;                   // those that may be called; with a function named by tool_choice that one alone
  std::vector<bool> strict;  // of each, whether its arguments must meet its schema where the model chooses
  nlohmann::ordered_json described =
      nlohmann::ordered_json::array();  // all that were given, for the template
  Choice choice = Choice::none;
  bool parallel = true;
};

// tools: an array, or null; functions may stand in it without `{"type": "function", "function": …}` around
// them, other kinds are passed over. choice: "none", "auto", "required", an object that names a function, or
// null: auto where there are tools. Error FieldError.
Tools read_tools(const nlohmann::ordered_json& tools, const nlohmann::ordered_json& choice);

// Whether messages hold calls or their results.
bool has_calls(const nlohmann::ordered_json& messages);

// Puts the tools and the calls of earlier turns into the conversation, as the model's template takes them;
// where it knows none (null), as texts. Error FieldError.
void add_tools(Conversation& conversation, const Tools& tools, const text::ToolFormat* format);

// What an answer's text must match.
struct Form {
  grammar::Kind kind;
  std::string text;  // as grammar::Compiler takes it
};
// Holds an answer to what the tools and the form ask for together: calls or the form. Null: to nothing.
// format: with the calls, and whether the prompt has opened the reasoning, behind which this holds. Errors:
// invalid_argument (a form beside a call that must be), else as Compiler::compile.
std::shared_ptr<const grammar::Grammar> held_to(const Tools& tools, const std::optional<Form>& form,
                                                const AnswerFormat& format, const text::Tokenizer& tokenizer,
                                                grammar::Compiler& compiler);

}  // namespace cairn::llm
