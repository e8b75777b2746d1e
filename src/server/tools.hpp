// Functions that a model may call, in requests.
#pragma once

#include <memory>
#include <optional>

#include "llm/tools.hpp"
#include "server/answer.hpp"
#include "server/fields.hpp"
#include "server/output_format.hpp"
#include "server/served_model.hpp"

namespace cairn::server {

using llm::Tools;

// Of a request's `tools`, `tool_choice` and `parallel_tool_calls`. Throws ApiError 400 that names the place.
Tools read_tools(const Json& body);

// How the model calls tools, found out once; null: its template knows none.
std::shared_ptr<const text::ToolFormat> tool_format(const ServedModel& model);

// llm::add_tools. Throws ApiError 400 that names the place.
void add_tools(llm::Conversation& conversation, const Tools& tools, const text::ToolFormat* format);

// Holds answers to what the tools and the output's format ask for together. format: of the prompt, with its
// calls. Throws ApiError 400 that names the field.
void constrain(const Tools& tools, const std::optional<OutputFormat>& wanted, const AnswerFormat& format,
               const ServedModel& model, llm::GenerateOptions& options);

}  // namespace cairn::server
