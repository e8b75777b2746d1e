#pragma once

#include <string>
#include <vector>

#include "llm/tools.hpp"
#include "server/answer.hpp"
#include "server/fields.hpp"
#include "server/served_model.hpp"

namespace cairn::server {

// A conversation as the model's template writes it, and what its answer may consist of.
struct ChatPrompt {
  std::string text;
  std::vector<llm::Token> tokens;
  AnswerFormat format;
};

// `messages`, `continue_final_message` and `chat_template_kwargs` of a body, checked. Throws ApiError 400
// that names the place.
llm::Conversation read_conversation(const Json& body);

// The conversation of a body, with its tools; what read_conversation and add_tools throw, and ApiError 400
// with what the template said.
ChatPrompt chat_prompt(const Json& body, const llm::Tools& tools, const ServedModel& model);
ChatPrompt chat_prompt(const Json& body, const ServedModel& model);  // with those that it names

// The texts of a content that comes in parts, a line each; others are refused by name. `at`: its place.
std::string joined_texts(const Json& parts, const std::string& at);

}  // namespace cairn::server
