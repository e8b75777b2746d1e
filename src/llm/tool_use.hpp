#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "llm/tools.hpp"

namespace cairn::llm {

// How a model's answers look: what is found in its template once.
struct AnswerForms {
  AnswerForms(std::shared_ptr<const text::ChatTemplate> chat_template,
              std::shared_ptr<const text::Tokenizer> tokenizer);

  std::shared_ptr<const text::ChatTemplate> chat_template;
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::optional<text::ReasoningMarks> reasoning;
  std::shared_ptr<const text::ToolFormat> calls;  // null: the template writes none
};

// The tools of one answer: in its prompt, and in what it is held to and parsed by.
class ToolUse {
 public:
  // compiler: of the model's tokens, which must outlive it. form: that the answer must match unless it calls.
  ToolUse(std::shared_ptr<const AnswerForms> forms, Tools tools, std::optional<Form> form,
          grammar::Compiler& compiler);

  // The conversation with the tools. Errors: FieldError, as llm::render.
  Rendered render(Conversation conversation) const;
  // Sets `format`, `grammar` and `shown` for the answer to a prompt, of which this is the end at least.
  // Errors: as held_to, but unsupported where the library for grammars is not there.
  void hold(GenerateOptions& options, std::string_view prompt) const;

 private:
  const std::shared_ptr<const AnswerForms> forms_;
  const Tools tools_;
  const std::optional<Form> form_;
  grammar::Compiler& compiler_;
};

}  // namespace cairn::llm
