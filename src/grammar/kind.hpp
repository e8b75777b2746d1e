#pragma once

namespace cairn::grammar {

// What a grammar is written as.
enum class Kind : int {
  json_schema,
  regex,      // what the whole answer must match
  ebnf,       // GBNF: rules `name ::= …`, of which the answer is `root`
  structure,  // a structural tag of xgrammar's: JSON that puts the other kinds together
};

}  // namespace cairn::grammar
