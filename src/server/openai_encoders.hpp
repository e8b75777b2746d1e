#pragma once

#include <memory>
#include <string>

#include "server/completion_request.hpp"
#include "server/encoder.hpp"

namespace cairn::server {

// /v1/chat/completions
std::unique_ptr<Encoder> make_chat_encoder(const CompletionRequest& request, const ServedModel& model);
// /v1/completions
std::unique_ptr<Encoder> make_text_encoder(const CompletionRequest& request, const ServedModel& model);

// OpenAI's "usage" of both.
Json openai_usage(const Usage& usage);

}  // namespace cairn::server
