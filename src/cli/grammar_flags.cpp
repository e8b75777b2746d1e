#include "cli/grammar_flags.hpp"

#include <utility>

#include "base/error.hpp"
#include "cli/standard_io.hpp"
#include "grammar/compiler.hpp"

namespace cairn::cli {

void add_grammar_flags(CLI::App& command, GrammarFlags& flags) {
  CLI::Option* schema =
      command.add_option("--json-schema", flags.schema_file, "the answer is JSON that meets this schema")
          ->type_name("FILE");
  CLI::Option* grammar =
      command.add_option("--grammar", flags.grammar_file, "the answer matches this grammar (GBNF)")
          ->type_name("FILE")
          ->excludes(schema);
  command.add_option("--regex", flags.regex, "the answer matches this regular expression as a whole")
      ->type_name("EXPRESSION")
      ->excludes(schema)
      ->excludes(grammar);
}

std::shared_ptr<const grammar::Grammar> make_grammar(const GrammarFlags& flags,
                                                     std::shared_ptr<const text::Tokenizer> tokenizer) {
  using grammar::Kind;
  const std::string& file = flags.schema_file.empty() ? flags.grammar_file : flags.schema_file;
  if (file.empty() && flags.regex.empty()) return nullptr;
  grammar::Compiler compiler(std::move(tokenizer));
  if (file.empty()) return compiler.compile(Kind::regex, flags.regex);
  const std::string text = read_text(file);
  try {
    return compiler.compile(flags.schema_file.empty() ? Kind::ebnf : Kind::json_schema, text);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_argument) throw;
    fail(ErrorCode::invalid_argument, "{}: {}", file, error.what());
  }
}

}  // namespace cairn::cli
