// What users write kept from being read as control tokens.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.hpp"

namespace cairn::llm {

// Takes the control tokens out of texts before a chat template renders them, and puts them back as plain text
// afterwards: a template may cut, trim or repeat what it is given, so places before it say nothing about
// places after it. In between, each is a number between two noncharacters.
class Sanitizer {
 public:
  explicit Sanitizer(const text::Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  // The "content" of messages by "user" and "tool": texts, and lists of {"text": …}.
  void take_out(nlohmann::ordered_json& messages);
  // Changes `rendered`; where it is not to be parsed for control tokens.
  std::vector<text::TextRange> put_back(std::string& rendered) const;

 private:
  std::string without_control(const std::string& text);

  const text::Tokenizer& tokenizer_;
  std::vector<std::string> taken_;
};

}  // namespace cairn::llm
