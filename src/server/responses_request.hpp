#pragma once

#include <memory>

#include "server/completion_request.hpp"
#include "server/encoder.hpp"

namespace cairn::server {

// A body of OpenAI's /v1/responses as one of /v1/chat/completions: input, instructions, tools (those of other
// kinds than functions are left out), text.format, reasoning. Throws ApiError 400 that names the field.
Json chat_of_responses(const Json& body);

// body: what the answer repeats of it.
std::unique_ptr<Encoder> make_responses_encoder(const CompletionRequest& request, const ServedModel& model,
                                                const Json& body);

}  // namespace cairn::server
