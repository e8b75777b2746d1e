#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/gguf_writer.hpp"

namespace cairn {

// A byte-level BPE vocabulary made up: the 256 bytes in GPT-2's printable form, then words that merges of a
// token and a letter build up ("ab", "abc", "Ġthe"; none twice), and one control token at the end.
struct SynthVocabulary {
  std::vector<std::string> tokens;
  std::vector<int32_t> types;  // GGUF's: 1 normal, 3 control
  std::vector<std::string> merges;
  uint32_t end = 0;  // the control token
};

// size: 257 … 10,000,000.
SynthVocabulary synth_vocabulary(uint32_t size);
// Sets it as a file's tokenizer.
void set_vocabulary(gguf::Writer& writer, SynthVocabulary vocabulary, std::string_view pre_tokenizer);

}  // namespace cairn
