#pragma once

#include <cstddef>
#include <string_view>

namespace cairn::grammar {

// How much there is to match, once repetitions are written out: roughly, and never too little by much.
struct ExpressionSize {
  size_t places = 0;   // of characters, and of rules' names
  size_t choices = 0;  // how often something may come or not, or once more: matching takes the square
};
constexpr size_t kMostChoices = 128;      // of an expression, of all patterns in a schema
constexpr size_t kMostRuleChoices = 256;  // of all of a grammar's rules

// A repetition of a single character counts as one place: a number is counted up. A group's is written out.
ExpressionSize size_of_regex(std::string_view expression);
// That of all rules, each once.
ExpressionSize size_of_rules(std::string_view gbnf);
// With a single character's repetitions written out too, as patterns in schemas are.
ExpressionSize size_of_pattern(std::string_view expression);

}  // namespace cairn::grammar
