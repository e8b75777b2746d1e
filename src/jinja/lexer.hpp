#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::jinja {

enum class TokenKind {
  data,
  block_begin,
  block_end,
  print_begin,
  print_end,
  name,
  text,
  integer,
  real,
  symbol,
  end
};

struct Token {
  TokenKind kind = TokenKind::end;
  size_t at = 0;     // byte offset in the source
  std::string text;  // data, name, unescaped string or symbol
  int64_t integer = 0;
  double real = 0;
};

// Line breaks as jinja2 normalises them: "\r\n" and "\r" become "\n", one at the very end goes.
std::string normalize_source(std::string_view source);

// "line 3, column 14" of a byte offset; columns count characters, both from 1.
std::string place(std::string_view source, size_t at);

// Cuts a normalised source into tokens, with whitespace trimmed as trim_blocks, lstrip_blocks and the signs
// in the tags ask; comments are gone. Error format names line and column.
std::vector<Token> tokenize(std::string_view source);

}  // namespace cairn::jinja
