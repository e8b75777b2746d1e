#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "server/answer.hpp"
#include "text/reasoning.hpp"

namespace cairn::server {

// What besides text an answer may consist of.
struct AnswerFormat {
  std::optional<text::ReasoningMarks> reasoning{};  // absent: it is all text
  bool in_reasoning = false;                        // the prompt has opened it
};

// Makes pieces of an answer's text, as it comes.
class AnswerParser {
 public:
  explicit AnswerParser(const AnswerFormat& format);

  std::vector<Piece> push(std::string_view text);
  std::vector<Piece> finish();  // what was held back
  bool in_reasoning() const { return splitter_ && splitter_->in_reasoning(); }

 private:
  std::optional<text::ReasoningSplitter> splitter_;
};

}  // namespace cairn::server
