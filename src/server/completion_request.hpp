#pragma once

#include <string>
#include <vector>

#include "server/answer.hpp"
#include "server/chat_prompt.hpp"
#include "server/fields.hpp"
#include "server/served_model.hpp"

namespace cairn::server {

using Prompts = std::vector<std::vector<llm::Token>>;

// A request for text, checked.
struct CompletionRequest {
  Prompts prompts;
  uint32_t n = 1;     // answers to each
  bool echo = false;  // answers begin with their prompts
  llm::GenerateOptions options;
  AnswerFormat format{};
  bool stream = false, include_usage = false;
};

// All throw ApiError 400 that names the field. What cairn does not know is passed over; what it knows and
// cannot do is refused.
CompletionRequest chat_request(const Json& body, const ServedModel& model);
CompletionRequest text_request(const Json& body, const ServedModel& model);

// Puts a conversation in; `param` is what it came from.
void set_chat(CompletionRequest& request, ChatPrompt prompt, const ServedModel& model, const char* param);
// Refuses prompts beyond the context, with both numbers.
void check_lengths(const Prompts& prompts, const ServedModel& model, const char* param);

// Field `name`: a text, token ids, or an array of either. Refuses foreign ids, none, and what is beyond the
// context.
Prompts read_prompts(const Fields& fields, const char* name, const ServedModel& model,
                     const text::EncodeOptions& options);

// Token ids of `field`.
std::vector<llm::Token> token_ids(const Json& array, const std::string& field, size_t vocabulary);

}  // namespace cairn::server
