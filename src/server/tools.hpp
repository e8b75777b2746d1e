// Functions that a model may call.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "llm/chat.hpp"
#include "server/answer_parser.hpp"
#include "server/fields.hpp"
#include "server/output_format.hpp"
#include "server/served_model.hpp"

namespace cairn::server {

// A request's `tools`, `tool_choice` and `parallel_tool_calls`.
struct Tools {
  enum class Choice : uint8_t { none, automatic, required };

  std::vector<text::Tool>
      all;                   // those that may be called; with a function named by tool_choice that one alone
  std::vector<bool> strict;  // of each, whether its arguments must meet its schema where the model chooses
  Json described = Json::array();  // all of the request's, for the template
  Choice choice = Choice::none;
  bool parallel = true;
};

// Throws ApiError 400 that names the place. Kinds other than functions are passed over.
Tools read_tools(const Json& body);

// How the model calls tools, found out once; null: its template knows none.
std::shared_ptr<const text::ToolFormat> tool_format(const ServedModel& model);

// Puts the tools and the calls of earlier turns into the conversation, as the model's template takes them;
// where it knows none, as texts. Throws ApiError 400 that names the place.
void add_tools(llm::Conversation& conversation, const Tools& tools, const text::ToolFormat* format);

// Holds answers to what the tools and the output's format ask for together. format: of the prompt, with its
// calls. Throws ApiError 400 that names the field.
void constrain(const Tools& tools, const std::optional<OutputFormat>& wanted, const AnswerFormat& format,
               const ServedModel& model, llm::GenerateOptions& options);

}  // namespace cairn::server
