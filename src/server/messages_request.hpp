#pragma once

#include <memory>

#include "server/completion_request.hpp"
#include "server/encoder.hpp"

namespace cairn::server {

// A body of Anthropic's /v1/messages as one of OpenAI's /v1/chat/completions: system, content blocks, tools,
// stop_sequences, thinking. Throws ApiError 400 that names the field in Anthropic's words.
Json chat_of_messages(const Json& body);

std::unique_ptr<Encoder> make_messages_encoder(const CompletionRequest& request, const ServedModel& model);

}  // namespace cairn::server
