#include "server/answer_parser.hpp"

#include <utility>

namespace cairn::server {
namespace {

std::vector<Piece> pieces(text::ReasoningSplitter::Split split) {
  std::vector<Piece> all;
  if (!split.reasoning.empty()) all.push_back({Piece::Kind::reasoning, std::move(split.reasoning)});
  if (!split.text.empty()) all.push_back({Piece::Kind::text, std::move(split.text)});
  return all;
}

}  // namespace

void Answer::add(const Piece& piece) {
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

AnswerParser::AnswerParser(const AnswerFormat& format) {
  if (format.reasoning) splitter_.emplace(*format.reasoning, format.in_reasoning);
}

std::vector<Piece> AnswerParser::push(std::string_view text) {
  if (splitter_) return pieces(splitter_->push(text));
  return text.empty() ? std::vector<Piece>() : std::vector<Piece>{{Piece::Kind::text, std::string(text)}};
}

std::vector<Piece> AnswerParser::finish() {
  return splitter_ ? pieces(splitter_->finish()) : std::vector<Piece>();
}

}  // namespace cairn::server
