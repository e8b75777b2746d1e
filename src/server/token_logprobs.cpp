#include "server/token_logprobs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/utf8.hpp"

namespace cairn::server {
namespace {

// JSON has no infinity; OpenAI's stand-in for what is all but impossible.
constexpr float kImpossible = -9999;

Json number(float logprob) {
  if (std::isnan(logprob)) return nullptr;
  return std::max(logprob, kImpossible);
}

std::string name(const std::string& bytes, std::string_view prefix) {
  if (is_utf8(bytes)) return bytes;
  std::string escaped(prefix);
  for (const char byte : bytes) escaped += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
  return escaped;
}

Json described(const std::string& bytes, float logprob) {
  Json values = Json::array();
  for (const char byte : bytes) values.push_back(static_cast<unsigned char>(byte));
  return {{"token", name(bytes, "")}, {"logprob", number(logprob)}, {"bytes", std::move(values)}};
}

// Of UTF-8, whole or in parts: a character counts where it begins.
size_t characters(const std::string& bytes) {
  return static_cast<size_t>(
      std::count_if(bytes.begin(), bytes.end(), [](char byte) { return (byte & 0xc0) != 0x80; }));
}

}  // namespace

Json TokenLogprobsWriter::content(std::span<const llm::TokenLogprobs> tokens) const {
  Json all = Json::array();
  for (const llm::TokenLogprobs& one : tokens) {
    Json token = described(tokenizer_->piece(one.token, true), one.logprob);
    Json top = Json::array();
    for (const auto& likely : one.top)
      top.push_back(described(tokenizer_->piece(likely.token, true), likely.logprob));
    token["top_logprobs"] = std::move(top);
    all.push_back(std::move(token));
  }
  return all;
}

Json TokenLogprobsWriter::texts(std::span<const llm::TokenLogprobs> tokens, size_t& offset) const {
  Json all = {{"tokens", Json::array()},
              {"token_logprobs", Json::array()},
              {"top_logprobs", Json::array()},
              {"text_offset", Json::array()}};
  for (const llm::TokenLogprobs& one : tokens) {
    const std::string bytes = tokenizer_->piece(one.token, true), token = name(bytes, "bytes:");
    all["tokens"].push_back(token);
    all["token_logprobs"].push_back(number(one.logprob));
    Json top = nullptr;
    if (!std::isnan(one.logprob)) {
      top = Json::object();
      for (const auto& likely : one.top)
        top[name(tokenizer_->piece(likely.token, true), "bytes:")] = number(likely.logprob);
      if (!one.top.empty()) top[token] = number(one.logprob);  // the chosen one beside the likeliest
    }
    all["top_logprobs"].push_back(std::move(top));
    all["text_offset"].push_back(offset);
    if (one.token != tokenizer_->bos()) offset += characters(bytes);  // which no text shows
  }
  return all;
}

}  // namespace cairn::server
