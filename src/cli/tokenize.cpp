#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "cli/commands.hpp"
#include "cli/session_flags.hpp"
#include "formats/gguf.hpp"
#include "store/model_store.hpp"
#include "text/tokenizer.hpp"

namespace cairn::cli {
namespace {

struct Options {
  std::string model, prompt, file;
  bool prompt_given = false;
  bool no_special = false, parse_special = false;
  bool json = false, ids = false, decode = false;
};

std::string read_all(std::istream& in, const std::string& name) {
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (in.bad()) fail(ErrorCode::io, "{}: cannot read", name);
  return text;
}

std::string input(const Options& options) {
  if (options.prompt_given) return options.prompt;
  if (options.file.empty()) return read_all(std::cin, "standard input");
  std::ifstream in(options.file, std::ios::binary);
  if (!in) fail(ErrorCode::not_found, "{}: {}", options.file, std::strerror(errno));
  if (std::filesystem::is_directory(options.file)) fail(ErrorCode::io, "{}: is a directory", options.file);
  return read_all(in, options.file);
}

// Ids as --ids and --json print them: numbers with blanks, commas or brackets between.
std::vector<text::Token> parse_ids(const std::string& text) {
  std::vector<text::Token> out;
  for (size_t at = text.find_first_not_of(" \t\r\n,[]"); at != std::string::npos;
       at = text.find_first_not_of(" \t\r\n,[]", at)) {
    const size_t end = std::min(text.find_first_of(" \t\r\n,[]", at), text.size());
    const std::string word = text.substr(at, end - at);
    size_t used = 0;
    int id = -1;
    try {
      id = std::stoi(word, &used);
    } catch (const std::exception&) {
      used = 0;
    }
    if (used != word.size() || id < 0) fail(ErrorCode::invalid_argument, "'{}' is no token id", word);
    out.push_back(id);
    at = end;
  }
  return out;
}

std::string dump(const nlohmann::ordered_json& json, int indent = -1) {
  return json.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

void print_tokens(const Options& options, const text::Tokenizer& tokenizer,
                  const std::vector<text::Token>& ids) {
  if (options.json) {
    nlohmann::ordered_json pieces = nlohmann::ordered_json::array();
    for (text::Token id : ids) pieces.push_back(tokenizer.piece(id, true));
    fmt::print("{}\n",
               dump({{"model", options.model}, {"tokens", ids.size()}, {"ids", ids}, {"pieces", pieces}}));
  } else if (options.ids) {
    fmt::print("{}\n", fmt::join(ids, " "));
  } else {
    for (text::Token id : ids) fmt::print("{:>7}  {}\n", id, dump(tokenizer.piece(id, true)));
  }
}

void run(const Options& options) {
  const gguf::File file(resolve_model(options.model));
  const auto tokenizer = text::make_tokenizer(file);
  warn_of(*tokenizer);
  const std::string text = input(options);
  if (options.decode) {
    const std::vector<text::Token> ids = parse_ids(text);
    const std::string decoded = tokenizer->decode(ids, !options.no_special);
    if (options.json) {
      fmt::print("{}\n", dump({{"model", options.model}, {"tokens", ids.size()}, {"text", decoded}}));
    } else {
      fmt::print("{}", decoded);
    }
    return;
  }
  text::EncodeOptions encode;
  encode.add_bos = encode.add_eos = !options.no_special;
  encode.parse_special = options.parse_special;
  print_tokens(options, *tokenizer, tokenizer->encode(text, encode));
}

}  // namespace

void add_tokenize(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("tokenize", "Show how a model cuts a text into tokens");
  add_model(*command, options->model);
  auto* prompt =
      command->add_option("-p,--prompt", options->prompt, "the text (standard input without -p or --file)");
  command->add_option("-f,--file", options->file, "a file with the text")->excludes(prompt);
  command->add_flag("--no-special", options->no_special,
                    "add no BOS or EOS; with --decode, leave control tokens out");
  command->add_flag("--parse-special", options->parse_special,
                    "read \"<|im_start|>\" and the like in the text as control tokens");
  auto* ids = command->add_flag("--ids", options->ids, "print the ids alone, on one line");
  command->add_flag("--json", options->json, "print one JSON object: model, tokens, ids, pieces")
      ->excludes(ids);
  command
      ->add_flag("--decode", options->decode, "the other way: the input is token ids, the output their text")
      ->excludes(ids);
  command->footer("Example: cairn tokenize smollm2-135m -p \"Hello, world\"");
  command->callback([options, prompt] {
    options->prompt_given = prompt->count() > 0;
    run(*options);
  });
}

}  // namespace cairn::cli
