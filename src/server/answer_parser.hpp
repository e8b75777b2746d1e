#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "server/answer.hpp"
#include "text/call_parser.hpp"
#include "text/reasoning.hpp"

namespace cairn::server {

// What besides text an answer may consist of.
struct AnswerFormat {
  std::optional<text::ReasoningMarks> reasoning{};  // absent: it is all text
  bool in_reasoning = false;                        // the prompt has opened it
  // How it calls which tools; null: none may be called.
  std::shared_ptr<const text::ToolFormat> calls{};
  std::shared_ptr<const std::vector<text::Tool>> tools{};
};

// Makes pieces of an answer's text, as it comes.
class AnswerParser {
 public:
  explicit AnswerParser(const AnswerFormat& format);

  std::vector<Piece> push(std::string_view text);
  std::vector<Piece> finish();  // what was held back
  bool in_reasoning() const { return splitter_ && splitter_->in_reasoning(); }

 private:
  void add(std::vector<Piece>& pieces, std::vector<text::CallPiece> parts);

  const AnswerFormat format_;
  std::optional<text::ReasoningSplitter> splitter_;
  std::optional<text::CallParser> calls_;
};

}  // namespace cairn::server
