#pragma once

#include <string>
#include <string_view>

namespace cairn::text {

// BERT's normaliser and cutter of words, as `tokenizers` has them (BertNormalizer, BertPreTokenizer):
// controls go, Chinese ideographs and punctuation are words of their own, accents are taken off by form D,
// letters become small.
struct WordPieceNormalizer {
  bool lowercase = true, strip_accents = true;

  // Calls each(word) with valid UTF-8 for every word, in order. The text is valid UTF-8.
  template <class Each>
  void words(std::string_view text, const Each& each) const {
    const std::string normal = normalized(text);
    for (size_t at = 0; at < normal.size();) {
      const size_t end = normal.find(kEnd, at);
      if (end > at) each(std::string_view(normal).substr(at, end - at));
      at = end + 1;
    }
  }

 private:
  static constexpr char kEnd = '\0';  // of a word: no word holds it
  std::string normalized(std::string_view text) const;
};

}  // namespace cairn::text
