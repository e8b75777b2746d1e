#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/bpe_merge.hpp"
#include "text/tokenizer_vocabulary.hpp"

namespace cairn::text {

// GPT-2's spelling of bytes as printable characters: the vocabulary of a byte-level BPE is written in it.
// Printable Latin-1 stands for itself, the other 68 bytes for U+0100 onwards.
class ByteAlphabet {
 public:
  ByteAlphabet();
  std::string_view spelling(unsigned char byte) const noexcept { return {spellings_[byte].data()}; }
  // The bytes that a token spells; the token itself when it has a character outside the alphabet.
  std::string bytes(std::string_view token) const;

 private:
  std::array<std::array<char, 3>, 256> spellings_;  // UTF-8, zero-terminated
  std::array<int16_t, 324> bytes_;                  // by code point; -1 outside the alphabet
};

// Which pairs of tokens merge, into what, and in which order.
class MergeTable {
 public:
  using Queue = MergeQueue<uint32_t>;

  // tokenizer.ggml.merges: "left right", best first. Error format names a merge whose parts or result are not
  // in the vocabulary.
  explicit MergeTable(const Vocabulary& vocabulary);
  Queue::Candidate find(Token left, Token right) const noexcept;

 private:
  struct Slot {
    uint64_t pair;
    uint32_t rank;
    Token token;
  };
  static uint64_t key(Token left, Token right) noexcept {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t start(uint64_t pair) const noexcept { return (pair * 0x9E3779B97F4A7C15u) >> shift_; }

  std::vector<Slot> slots_;  // open addressing, a power of two in size
  unsigned shift_ = 0;
};

}  // namespace cairn::text
