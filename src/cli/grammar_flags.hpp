#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "grammar/grammar.hpp"

namespace cairn::cli {

// What an answer must match; at most one of them is given.
struct GrammarFlags {
  std::string schema_file, grammar_file, regex;
};

// --json-schema --grammar --regex
void add_grammar_flags(CLI::App& command, GrammarFlags& flags);

// Null where none is given. Errors: as read_text and grammar::Compiler::compile, with the file's name.
std::shared_ptr<const grammar::Grammar> make_grammar(const GrammarFlags& flags,
                                                     std::shared_ptr<const text::Tokenizer> tokenizer);

}  // namespace cairn::cli
