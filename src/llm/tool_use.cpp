#include "llm/tool_use.hpp"

#include <utility>

namespace cairn::llm {

AnswerForms::AnswerForms(std::shared_ptr<const text::ChatTemplate> of,
                         std::shared_ptr<const text::Tokenizer> over)
    : chat_template(std::move(of)),
      tokenizer(std::move(over)),
      reasoning(text::reasoning_marks(*chat_template, *tokenizer)) {
  if (const auto found = text::tool_format(*chat_template, *tokenizer))
    calls = std::make_shared<const text::ToolFormat>(*found);
}

ToolUse::ToolUse(std::shared_ptr<const AnswerForms> forms, Tools tools, std::optional<Form> form,
                 grammar::Compiler& compiler)
    : forms_(std::move(forms)), tools_(std::move(tools)), form_(std::move(form)), compiler_(compiler) {}

Rendered ToolUse::render(Conversation conversation) const {
  add_tools(conversation, tools_, forms_->calls.get());
  return llm::render(*forms_->chat_template, *forms_->tokenizer, conversation);
}

void ToolUse::hold(GenerateOptions& options, std::string_view prompt) const {
  AnswerFormat format;
  format.reasoning = forms_->reasoning;
  format.in_reasoning = format.reasoning && text::ends_in_reasoning(prompt, *format.reasoning);
  if (tools_.choice != Tools::Choice::none) {
    format.calls =
        forms_->calls ? forms_->calls : std::make_shared<const text::ToolFormat>(text::plain_tool_format());
    format.tools = std::make_shared<const std::vector<text::Tool>>(tools_.all);
  }
  try {
    options.grammar = held_to(tools_, form_, format, *forms_->tokenizer, compiler_);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    fail(ErrorCode::unsupported, "{}: {}", form_ ? "a form" : "tools", error.what());
  }
  options.shown = format.control_tokens(*forms_->tokenizer);
  options.format = std::make_shared<const AnswerFormat>(std::move(format));
}

}  // namespace cairn::llm
