#include "llm/embed.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/progress.hpp"
#include "cli/commands.hpp"
#include "cli/parser/values.hpp"
#include "cli/pooling_flag.hpp"
#include "cli/session_flags.hpp"
#include "cli/standard_io.hpp"
#include "llm/model.hpp"
#include "store/model_store.hpp"

namespace cairn::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  std::string model, file;
  std::vector<std::string> texts;  // after the model
  std::optional<llm::Pooling> pooling;
  uint32_t dimensions = 0;
  bool no_normalize = false, json = false;
  engine::Options engine;
};

// A text and what errors call it.
struct Named {
  std::string text, name;
};

// Each line is a text; what stands behind the last line's end is none.
std::vector<Named> lines_of(const std::string& path) {
  const std::string all = read_text(path), file = path == "-" ? "standard input" : path;
  std::vector<Named> out;
  for (size_t at = 0; at < all.size();) {
    const size_t end = std::min(all.find('\n', at), all.size());
    std::string line = all.substr(at, end - at);
    if (line.ends_with('\r')) line.pop_back();
    out.push_back({std::move(line), fmt::format("{}: line {}", file, out.size() + 1)});
    at = end + 1;
  }
  return out;
}

std::vector<Named> texts_of(const Flags& flags) {
  if (flags.texts.empty()) {
    if (flags.file.empty() && isatty(STDIN_FILENO) != 0) {
      fail(ErrorCode::invalid_argument,
           "no text: write it after the model, give -f FILE, or write lines to standard input");
    }
    return lines_of(flags.file.empty() ? "-" : flags.file);
  }
  if (!flags.file.empty())
    fail(ErrorCode::invalid_argument, "texts are given twice: '{}', and by -f", flags.texts.front());
  std::vector<Named> out;
  for (size_t i = 0; i < flags.texts.size(); ++i)
    out.push_back({flags.texts[i], fmt::format("text {}", i + 1)});
  return out;
}

void run(const Flags& flags) {
  const auto model = llm::Model::load(resolve_model(flags.model));
  const std::vector<Named> texts = texts_of(flags);
  const llm::Pooling pooling = flags.pooling ? *flags.pooling : llm::require_pooling(model->file());
  const uint32_t width = model->parameters().embedding;
  if (flags.dimensions > width)
    fail(ErrorCode::invalid_argument, "--dimensions {} is more than the {} that the model has",
         flags.dimensions, width);
  llm::Session session = model->make_session(flags.engine);
  warn_of(*model->tokenizer());
  // All are looked at before the first is read: half of an answer is none.
  const uint32_t context = session.engine().context();
  std::vector<std::vector<llm::Token>> tokens;
  for (const Named& text : texts) {
    throw_if_interrupted();
    tokens.push_back(model->tokenizer()->encode(text.text, {.parse_special = true}));
    if (tokens.back().empty())
      fail(ErrorCode::invalid_argument, "{}: an empty text has no embedding", text.name);
    if (tokens.back().size() > context) {
      fail(ErrorCode::invalid_argument, "{}: has {} tokens, the context holds {}", text.name,
           tokens.back().size(), context);
    }
  }
  Json data = Json::array();
  std::optional<Progress> bar;  // where the vectors themselves do not show how far it is
  if (flags.json || isatty(STDOUT_FILENO) == 0) bar.emplace("embedding", tokens.size(), "texts");
  for (const std::vector<llm::Token>& text : tokens) {
    throw_if_interrupted();
    const std::vector<float> vector =
        llm::embed(session, text, pooling, flags.dimensions, !flags.no_normalize, interrupted);
    if (flags.json) {
      data.push_back({{"tokens", text.size()}, {"embedding", vector}});
    } else {
      write_out(Json(vector).dump() + "\n");
    }
    if (bar) bar->advance(1);
  }
  bar.reset();
  if (flags.json)
    write_out(Json{{"model", flags.model},
                   {"dimensions", flags.dimensions == 0 ? width : flags.dimensions},
                   {"data", std::move(data)}}
                  .dump() +
              "\n");
}

}  // namespace

void add_embed(CLI::App& program) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("embed", "print texts as vectors that can be compared");
  add_model(*command, flags->model);
  command->add_option("TEXT", flags->texts, "texts; without any, the lines of standard input are");
  command->add_option("-f,--file", flags->file, "a file whose lines are the texts")->type_name("FILE");
  add_pooling_flag(*command, flags->pooling);
  command->add_option("--dimensions", flags->dimensions, "the first so many numbers of each vector")
      ->check(between(1, 1 << 24))
      ->type_name("N");
  command->add_flag("--no-normalize", flags->no_normalize, "vectors as they are; else of length 1");
  command->add_flag("--json", flags->json, "print one JSON object: model, dimensions, data");
  add_engine_flags(*command, flags->engine);
  command->footer(
      "Prints a JSON array a line for each text. A text is read as a whole: one that is longer than the\n"
      "context is refused. The product of two vectors, number by number, is how alike their texts are.\n"
      "Example: cairn embed all-minilm-l6-v2 \"a pile of stones\" \"a cairn\"");
  command->callback([flags] { run(*flags); });
}

}  // namespace cairn::cli
