#pragma once

#include <string>
#include <vector>

#include "text/tokenizer_vocabulary.hpp"

namespace cairn::convert {

struct SentencePiece {
  std::string text;
  float score = 0;
  text::TokenType type = text::TokenType::normal;
};

// The pieces of a SentencePiece model (protocol buffers; the messages are those of
// sentencepiece_model.proto). Errors name the file: format (the byte where the encoding breaks, no pieces),
// unsupported (a model of another kind than BPE, by name).
std::vector<SentencePiece> read_sentencepiece_model(const std::string& path);

}  // namespace cairn::convert
