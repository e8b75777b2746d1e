#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "llm/logprobs.hpp"
#include "server/fields.hpp"
#include "text/tokenizer.hpp"

namespace cairn::server {

// Tokens and how likely they were, as OpenAI's two APIs write it.
class TokenLogprobsWriter {
 public:
  explicit TokenLogprobsWriter(std::shared_ptr<const text::Tokenizer> tokenizer)
      : tokenizer_(std::move(tokenizer)) {}

  // Of chats: an array of {"token", "logprob", "bytes", "top_logprobs"}. A token that is no whole characters
  // has its bytes as "\xe2\x80" in "token".
  Json content(std::span<const llm::TokenLogprobs> tokens) const;
  // Of texts: {"tokens", "token_logprobs", "top_logprobs", "text_offset"}; such a token is "bytes:\xe2\x80".
  // offset: in characters, of the first token in the answer; moved behind the last one.
  Json texts(std::span<const llm::TokenLogprobs> tokens, size_t& offset) const;

 private:
  std::shared_ptr<const text::Tokenizer> tokenizer_;
};

}  // namespace cairn::server
