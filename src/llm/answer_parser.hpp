#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/call_parser.hpp"
#include "text/reasoning.hpp"
#include "text/tokenizer.hpp"

namespace cairn::llm {

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

// The pieces of an answer together.
struct Message {
  std::string text{}, reasoning{};
  std::vector<ToolCall> calls{};

  void add(const Piece& piece);
  // {"role": "assistant", "content", "reasoning_content", "tool_calls"} as OpenAI's API has it: content null
  // where there are calls alone, the other two where they are.
  nlohmann::ordered_json json() const;
};

// What besides text an answer may consist of.
struct AnswerFormat {
  std::optional<text::ReasoningMarks> reasoning{};  // absent: it is all text
  bool in_reasoning = false;                        // the prompt has opened it
  // How it calls which tools; null: none may be called.
  std::shared_ptr<const text::ToolFormat> calls{};
  std::shared_ptr<const std::vector<text::Tool>> tools{};

  // The control tokens in its marks, which are to be part of the text that is parsed
  // (GenerateOptions::shown).
  std::vector<text::Token> control_tokens(const text::Tokenizer& tokenizer) const;
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

}  // namespace cairn::llm
