#include "formats/synth_vocabulary.hpp"

#include <array>
#include <utility>

namespace cairn {
namespace {

std::string utf8(uint32_t character) {  // below U+0800
  if (character < 0x80) return {static_cast<char>(character)};
  return {static_cast<char>(0xc0 | character >> 6), static_cast<char>(0x80 | (character & 0x3f))};
}

// GPT-2's bytes_to_unicode: printable Latin-1 stands for itself, the rest for U+0100 onwards.
std::array<std::string, 256> byte_tokens() {
  std::array<std::string, 256> tokens;
  uint32_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    tokens[byte] = utf8(printable ? byte : next++);
  }
  return tokens;
}

}  // namespace

SynthVocabulary synth_vocabulary(uint32_t size) {
  SynthVocabulary v;
  const auto bytes = byte_tokens();
  v.tokens.reserve(size);
  v.tokens.assign(bytes.begin(), bytes.end());
  // Every token from a blank or a letter on is extended by each letter in turn, shortest first.
  std::vector<std::string> stems{bytes[' ']};
  for (char letter = 'a'; letter <= 'z'; ++letter) stems.emplace_back(1, letter);
  for (size_t stem = 0; v.tokens.size() < size - 1; ++stem) {
    for (char letter = 'a'; letter <= 'z' && v.tokens.size() < size - 1; ++letter) {
      stems.push_back(stems[stem] + letter);
      v.tokens.push_back(stems.back());
      v.merges.push_back(stems[stem] + ' ' + letter);
    }
  }
  v.end = size - 1;
  v.tokens.emplace_back("<|endoftext|>");
  v.types.assign(size, 1);
  v.types[v.end] = 3;
  return v;
}

void set_vocabulary(gguf::Writer& writer, SynthVocabulary vocabulary, std::string_view pre_tokenizer) {
  writer.set("tokenizer.ggml.model", "gpt2");
  writer.set("tokenizer.ggml.pre", std::string(pre_tokenizer));
  writer.set("tokenizer.ggml.tokens", std::move(vocabulary.tokens));
  writer.set("tokenizer.ggml.token_type", std::move(vocabulary.types));
  writer.set("tokenizer.ggml.merges", std::move(vocabulary.merges));
  writer.set("tokenizer.ggml.bos_token_id", vocabulary.end);
  writer.set("tokenizer.ggml.eos_token_id", vocabulary.end);
  writer.set("tokenizer.ggml.add_bos_token", false);
}

}  // namespace cairn
