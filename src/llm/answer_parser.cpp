#include "llm/answer_parser.hpp"

#include <nlohmann/json.hpp>
#include <random>
#include <utility>

namespace cairn::llm {
namespace {

using text::CallPiece;

// Nine letters and digits: those that Mistral's templates insist on, and others take.
std::string new_call_id() {
  constexpr std::string_view kDigits = "0123456789abcdefghijklmnopqrstuvwxyz";
  std::random_device random;
  std::string id(9, '0');
  for (char& digit : id) digit = kDigits[random() % kDigits.size()];
  return id;
}

}  // namespace

void Message::add(const Piece& piece) {
  switch (piece.kind) {
    case Piece::Kind::text:
      text += piece.text;
      break;
    case Piece::Kind::reasoning:
      reasoning += piece.text;
      break;
    case Piece::Kind::call:
      calls.push_back({piece.id, piece.text, {}});
      break;
    case Piece::Kind::arguments:
      calls.back().arguments += piece.text;
      break;
  }
}

nlohmann::ordered_json Message::json() const {
  nlohmann::ordered_json message = {{"role", "assistant"}, {"content", text}};
  if (!reasoning.empty()) message["reasoning_content"] = reasoning;
  if (calls.empty()) return message;
  if (text.empty()) message["content"] = nullptr;
  for (const ToolCall& call : calls) {
    message["tool_calls"].push_back({{"id", call.id},
                                     {"type", "function"},
                                     {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  }
  return message;
}

std::vector<text::Token> AnswerFormat::control_tokens(const text::Tokenizer& tokenizer) const {
  std::string marks;
  if (reasoning) marks = reasoning->open + reasoning->close;
  if (calls) {
    marks += calls->open + calls->call_open + calls->after_name + calls->key_open + calls->key_close +
             calls->value_close + calls->call_close + calls->between + calls->close;
  }
  std::vector<text::Token> tokens;
  for (const text::TextRange& range : tokenizer.control_ranges(marks)) {
    const auto token = tokenizer.find(std::string_view(marks).substr(range.begin, range.end - range.begin));
    if (token && tokenizer.is_control(*token)) tokens.push_back(*token);
  }
  return tokens;
}

AnswerParser::AnswerParser(const AnswerFormat& format) : format_(format) {
  if (format_.reasoning) splitter_.emplace(*format_.reasoning, format_.in_reasoning);
  if (format_.calls) calls_.emplace(*format_.calls, *format_.tools);
}

void AnswerParser::add(std::vector<Piece>& pieces, std::vector<CallPiece> parts) {
  for (CallPiece& part : parts) {
    switch (part.kind) {
      case CallPiece::Kind::text:
        pieces.push_back({Piece::Kind::text, std::move(part.text)});
        break;
      case CallPiece::Kind::call:
        pieces.push_back({Piece::Kind::call, std::move(part.text), new_call_id()});
        break;
      case CallPiece::Kind::arguments:
        pieces.push_back({Piece::Kind::arguments, std::move(part.text)});
        break;
    }
  }
}

std::vector<Piece> AnswerParser::push(std::string_view text) {
  std::vector<Piece> pieces;
  text::ReasoningSplitter::Split split{{}, std::string(text)};
  if (splitter_) split = splitter_->push(text);
  if (!split.reasoning.empty()) pieces.push_back({Piece::Kind::reasoning, std::move(split.reasoning)});
  if (split.text.empty()) return pieces;
  if (calls_) {
    add(pieces, calls_->push(split.text));
  } else {
    pieces.push_back({Piece::Kind::text, std::move(split.text)});
  }
  return pieces;
}

std::vector<Piece> AnswerParser::finish() {
  std::vector<Piece> pieces;
  text::ReasoningSplitter::Split split;
  if (splitter_) split = splitter_->finish();
  if (!split.reasoning.empty()) pieces.push_back({Piece::Kind::reasoning, std::move(split.reasoning)});
  if (calls_) {
    add(pieces, calls_->push(split.text));
    add(pieces, calls_->finish());
  } else if (!split.text.empty()) {
    pieces.push_back({Piece::Kind::text, std::move(split.text)});
  }
  return pieces;
}

}  // namespace cairn::llm
