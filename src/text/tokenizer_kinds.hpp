#pragma once

#include <memory>

#include "text/tokenizer.hpp"

namespace cairn::text {

// What make_tokenizer() chooses from by tokenizer.ggml.model.
std::unique_ptr<Tokenizer> make_bpe_tokenizer(const gguf::File& file);            // "gpt2"
std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(const gguf::File& file);  // "llama", "gemma4"
std::unique_ptr<Tokenizer> make_word_piece_tokenizer(const gguf::File& file);     // "bert"

}  // namespace cairn::text
