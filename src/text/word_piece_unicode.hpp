#pragma once

// How BERT's reference tokenizer (`tokenizers`, BertNormalizer and BertPreTokenizer) sees a character.
namespace cairn::text::bert {

bool is_removed(char32_t character);       // controls and U+FFFD: as if they were not there
bool is_blank(char32_t character);         // ends a word
bool is_ideograph(char32_t character);     // of Chinese: a word of its own
bool is_mark(char32_t character);          // an accent, once characters are taken apart
bool is_punctuation(char32_t character);   // a word of its own
char32_t newer_small(char32_t character);  // of capitals that Unicode 14 does not have; 0 for all others

}  // namespace cairn::text::bert
