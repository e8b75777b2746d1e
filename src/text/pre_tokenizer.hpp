#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

namespace cairn::text {

// What tokenizer.ggml.pre stands for. The expressions are those of the families' tokenizer.json files, in the
// syntax that they and PCRE2 share.
struct PreTokenizerInfo {
  std::vector<std::string_view> expressions;  // applied one after the other, each inside the others' pieces
  bool normalize = false;                     // to NFC, before splitting
  bool ignore_merges = false;                 // a piece that is a token as a whole stays whole
  bool add_bos = false;                       // where add_bos_token is absent
};

// nullptr for a name that is not known.
const PreTokenizerInfo* find_pre_tokenizer(std::string_view name);

// An expression with its Unicode classes spelt out: \p{…} extended by the characters that Unicode 15 to 16
// added (PCRE2 knows 14), \s as the White_Space property.
std::string portable_expression(std::string_view expression);

// Splits text into pieces that byte-pair encoding treats one by one: each expression's matches become pieces,
// and so does what lies between them. Compiled (with PCRE2's JIT) on construction; safe to share.
class PreTokenizer {
 public:
  explicit PreTokenizer(const std::vector<std::string_view>& expressions);
  ~PreTokenizer();
  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;

  // text: valid UTF-8. The pieces are views into it, none empty, together the whole text.
  std::vector<std::string_view> split(std::string_view text) const;

 private:
  struct Expression;
  std::vector<Expression> expressions_;
};

}  // namespace cairn::text
