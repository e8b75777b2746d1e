#include "server/tools.hpp"

#include "server/api_error.hpp"

namespace cairn::server {

Tools read_tools(const Json& body) {
  const Fields fields(body);
  const auto given = [&](const char* name) {
    const Json* value = fields.find(name);
    return value == nullptr ? Json() : *value;
  };
  try {
    Tools tools = llm::read_tools(given("tools"), given("tool_choice"));
    if (fields.find("parallel_tool_calls")) tools.parallel = fields.flag("parallel_tool_calls");
    return tools;
  } catch (const llm::FieldError& error) {
    refuse(error.at(), error.why());
  }
}

std::shared_ptr<const text::ToolFormat> tool_format(const ServedModel& model) {
  if (!model.looked_for_tools) {
    model.looked_for_tools = true;
    if (const auto found = text::tool_format(*model.chat_template(), *model.tokenizer))
      model.tool_format = std::make_shared<const text::ToolFormat>(*found);
  }
  return model.tool_format;
}

void add_tools(llm::Conversation& conversation, const Tools& tools, const text::ToolFormat* format) {
  try {
    llm::add_tools(conversation, tools, format);
  } catch (const llm::FieldError& error) {
    refuse(error.at(), error.why());
  }
}

void constrain(const Tools& tools, const std::optional<OutputFormat>& wanted, const AnswerFormat& format,
               const ServedModel& model, llm::GenerateOptions& options) {
  std::optional<llm::Form> form;
  if (wanted) form = {wanted->kind, wanted->text};
  compiling(wanted ? wanted->param : "tools",
            [&] { options.grammar = llm::held_to(tools, form, format, *model.tokenizer, grammars(model)); });
}

}  // namespace cairn::server
