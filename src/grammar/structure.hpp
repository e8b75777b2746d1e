#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/kind.hpp"
#include "text/tokenizer.hpp"

namespace cairn::grammar {

// Grammars one behind the other, as Kind::structure has them.
class Structure {
 public:
  explicit Structure(const text::Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}

  // A fixed text. Control tokens in it are those tokens; what ends an answer is left out.
  Structure& mark(std::string_view text);
  // Any text that does not contain the mark, then the mark.
  Structure& text_up_to(std::string_view mark);
  Structure& blanks();  // white space, or none
  // Error invalid_argument: a schema that checked_schema refuses.
  Structure& part(Kind kind, std::string_view text);
  Structure& schema(const nlohmann::ordered_json& schema);
  Structure& either(const std::vector<Structure>& cases);
  Structure& optional(const Structure& part);
  Structure& any_number(const Structure& part);
  // Any text; wherever `mark` stands in it, `then` follows.
  Structure& free_text_with(std::string_view mark, const Structure& then);

  std::string text() const;

 private:
  nlohmann::ordered_json format() const;
  Structure& add(nlohmann::ordered_json element);

  const text::Tokenizer* tokenizer_;
  nlohmann::ordered_json elements_ = nlohmann::ordered_json::array();
};

}  // namespace cairn::grammar
