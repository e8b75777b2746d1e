#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "llm/answer_parser.hpp"
#include "llm/session.hpp"

namespace cairn::server {

using llm::AnswerFormat;
using llm::AnswerParser;
using llm::Piece;
using llm::ToolCall;

// A whole answer.
struct Answer : llm::Message {
  std::vector<llm::TokenLogprobs> logprobs;  // of all its tokens, where they are asked for
  size_t reasoned = 0;                       // … of its reasoning's, which come first
  llm::FinishReason finish = llm::FinishReason::length;
  std::string stop;  // the stop string that matched, if one did
};

struct Usage {
  uint64_t prompt = 0, cached = 0;      // tokens of prompts, each counted once
  uint64_t written = 0, reasoning = 0;  // of all answers; of them in reasoning
};

}  // namespace cairn::server
