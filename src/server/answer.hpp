#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "llm/session.hpp"

namespace cairn::server {

struct ToolCall {
  std::string id, name;
  std::string arguments;  // JSON, as the model wrote it
};

// What an answer comes in, whatever the API. A call's arguments follow its `call`, before the next one's.
struct Piece {
  enum class Kind : uint8_t { text, reasoning, call, arguments };
  Kind kind = Kind::text;
  std::string text;  // of `call`: the function's name
  std::string id{};  // of `call`
};

// A whole answer.
struct Answer {
  std::string text, reasoning;
  std::vector<ToolCall> calls;
  std::vector<llm::TokenLogprobs> logprobs;  // of all its tokens, where they are asked for
  size_t reasoned = 0;                       // … of its reasoning's, which come first
  llm::FinishReason finish = llm::FinishReason::length;
  std::string stop;  // the stop string that matched, if one did

  void add(const Piece& piece);
};

struct Usage {
  uint64_t prompt = 0, cached = 0;      // tokens of prompts, each counted once
  uint64_t written = 0, reasoning = 0;  // of all answers; of them in reasoning
};

}  // namespace cairn::server
