#pragma once

#include <string>
#include <vector>

#include "server/fields.hpp"
#include "server/served_model.hpp"

namespace cairn::server {

// A request for text, checked.
struct CompletionRequest {
  bool chat = false;  // of /v1/chat/completions; else /v1/completions
  std::vector<std::vector<llm::Token>> prompts;
  uint32_t n = 1;  // answers to each
  llm::GenerateOptions options;
  bool stream = false, include_usage = false;
};

// All throw ApiError 400 that names the field. What cairn does not know is passed over; what it knows and
// cannot do is refused.
CompletionRequest chat_request(const Json& body, const ServedModel& model);
CompletionRequest text_request(const Json& body, const ServedModel& model);

// The tokens of a chat as the model's template writes it.
std::vector<llm::Token> chat_prompt(const Json& body, const ServedModel& model);
// Token ids of `field`.
std::vector<llm::Token> token_ids(const Json& array, const std::string& field, size_t vocabulary);

}  // namespace cairn::server
