#pragma once

#include <cstddef>

namespace cairn::grammar {

constexpr int kMostBlanks = 20;                 // between two parts of JSON, one after the other
constexpr size_t kMostBytes = size_t{1} << 18;  // of what a grammar is written in

// What a grammar is written as.
enum class Kind : int {
  json_schema,
  regex,      // what the whole answer must match
  ebnf,       // GBNF: rules `name ::= …`, of which the answer is `root`
  structure,  // a structural tag of xgrammar's: JSON that puts the other kinds together
};

}  // namespace cairn::grammar
