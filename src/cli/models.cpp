// list, show, rm: the models that are here.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/byte_size.hpp"
#include "base/error.hpp"
#include "cli/commands.hpp"
#include "cli/json_text.hpp"
#include "cli/parser/complete.hpp"
#include "cli/parser/values.hpp"
#include "cli/standard_io.hpp"
#include "formats/describe.hpp"
#include "graph/graph.hpp"
#include "stack/curve.hpp"
#include "store/model_store.hpp"
#include "text/scan.hpp"

namespace cairn::cli {
namespace {

using Json = nlohmann::ordered_json;

// The encoding of most of the bytes; a stack says so.
std::string encoding(const gguf::File& file) {
  if (stack::is_stack(file)) return "stack";
  const gguf::Totals totals = gguf::totals(file);
  return totals.encodings.empty() ? "" : std::string(info(totals.encodings[0].first).name);
}

std::string ago(int64_t then) {
  if (then == 0) return "never";
  const int64_t seconds = std::max<int64_t>(0, static_cast<int64_t>(std::time(nullptr)) - then);
  const auto some = [](int64_t count, const char* what) {
    return fmt::format("{} {}{} ago", count, what, count == 1 ? "" : "s");
  };
  if (seconds < 60) return "just now";
  if (seconds < 3600) return some(seconds / 60, "minute");
  if (seconds < 86400) return some(seconds / 3600, "hour");
  return some(seconds / 86400, "day");
}

void list(bool as_json) {
  struct Row {
    StoredModel model;
    std::string encoding;
  };
  std::vector<Row> rows;
  size_t widest = 4;
  for (StoredModel& model : stored_models()) {
    std::string what;
    try {
      what = encoding(gguf::File(model.path));
    } catch (const Error&) {
      what = "damaged";
    }
    widest = std::max(widest, model.name.size());
    rows.push_back({std::move(model), what});
  }
  if (as_json) {
    Json json = Json::array();
    for (const Row& row : rows) {
      json.push_back({{"name", row.model.name},
                      {"path", row.model.path},
                      {"bytes", row.model.bytes},
                      {"encoding", row.encoding},
                      {"used", row.model.used == 0 ? Json() : Json(row.model.used)}});
    }
    return write_out(json_text(json));
  }
  if (rows.empty()) return write_out("no models yet: cairn pull --list names some that can be had by name\n");
  std::string text = fmt::format("{:<{}}  {:>10}  {:<8}  USED\n", "NAME", widest, "SIZE", "ENCODING");
  for (const Row& row : rows) {
    text += fmt::format("{:<{}}  {:>10}  {:<8}  {}\n", row.model.name, widest, byte_size(row.model.bytes),
                        row.encoding, ago(row.model.used));
  }
  write_out(text);
}

// The first line of a text that is not empty, cut to a screen's width.
std::string first_line(std::string_view text) {
  text = text::trimmed_front(text);
  std::string line = gguf::describe(gguf::Value(text.substr(0, text.find('\n'))), {});
  return line.size() >= 2 ? line.substr(1, line.size() - 2) : line;
}

std::string text_or(const gguf::File& file, std::string_view key) {
  const gguf::Value* value = file.find(key);
  if (value == nullptr || !std::holds_alternative<std::string_view>(*value)) return {};
  return first_line(std::get<std::string_view>(*value));
}

// Of a position, keys and values in f16; of latent attention keys alone.
uint64_t cache_bytes(const graph::HyperParameters& p) {
  uint64_t elements = 0;
  for (uint32_t i = 0; i < p.layers; ++i) {
    const bool own = p.attends(i) && p.shared_distance(i) == 0;
    if (own) elements += uint64_t{p.kv_heads_of(i)} * p.head_size_of(i);
  }
  return elements * (p.latent_rank != 0 ? 2 : 4);
}

void show(const std::string& name, bool as_json) {
  const gguf::File file(resolve_model(name));
  const graph::HyperParameters p = graph::read_hyper_parameters(file);
  const gguf::Totals totals = gguf::totals(file);
  const std::string license = text_or(file, "general.license");
  const std::string tokenizer = text_or(file, "tokenizer.ggml.model");
  const bool has_template = file.find("tokenizer.chat_template") != nullptr;
  const uint64_t cache = cache_bytes(p);
  if (as_json) {
    return write_out(json_text({{"path", file.path()},
                                {"name", text_or(file, "general.name")},
                                {"family", p.architecture},
                                {"parameters", totals.all.elements},
                                {"bytes", file.file_bytes()},
                                {"encoding", encoding(file)},
                                {"bits_per_weight", totals.all.bits_per_weight()},
                                {"layers", p.layers},
                                {"embedding", p.embedding},
                                {"feed_forward", p.ffn},
                                {"heads", p.heads},
                                {"kv_heads", p.kv_heads},
                                {"vocabulary", p.vocabulary},
                                {"context", p.context},
                                {"kv_bytes_per_token", cache},
                                {"tokenizer", tokenizer},
                                {"chat_template", has_template},
                                {"license", license}}));
  }
  std::string text;
  const auto row = [&](const char* what, const std::string& value) {
    text += fmt::format("{:<12} {}\n", what, value.empty() ? "not said" : value);
  };
  row("name", text_or(file, "general.name"));
  row("file", file.path());
  row("size", byte_size(file.file_bytes()));
  row("family", p.architecture);
  if (stack::is_stack(file)) {
    row("encoding", "a stack: any beginning of it is a model (cairn inspect)");
  } else {
    row("parameters", fmt::format("{:.1f} million", static_cast<double>(totals.all.elements) * 1e-6));
    row("encoding", fmt::format("{}, {:.2f} bits a weight", encoding(file), totals.all.bits_per_weight()));
  }
  row("layers", fmt::format("{} of width {}, {} heads ({} of keys and values), feed-forward {}", p.layers,
                            p.embedding, p.heads, p.kv_heads, p.ffn));
  row("context", fmt::format("{} tokens, {} of KV cache for each 1,024", p.context, byte_size(cache * 1024)));
  row("vocabulary", fmt::format("{} tokens ({})", p.vocabulary, tokenizer.empty() ? "not said" : tokenizer));
  row("template", has_template ? text_or(file, "tokenizer.chat_template") : "none: a text is continued");
  row("licence", license);
  write_out(text);
}

}  // namespace

void add_models(CLI::App& program) {
  struct Flags {
    std::vector<std::string> names;
    std::string model;
    bool json = false;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* listing = program.add_subcommand("list", "the models that are here");
  listing->alias("ls");
  listing->add_flag("--json", flags->json, "print one JSON array");
  listing->footer(
      "Models are kept in $CAIRN_MODELS, or else in ~/.cache/cairn/models.\n"
      "Example: cairn list");
  listing->callback([flags] { list(flags->json); });

  CLI::App* showing = program.add_subcommand("show", "what a model is, on one screen");
  showing->add_option("MODEL", flags->model, "a model file or the short name of a pulled model")->required();
  showing->add_flag("--json", flags->json, "print one JSON object");
  showing->footer("cairn inspect shows its metadata, tensors and graph.\nExample: cairn show smollm2-135m");
  showing->callback([flags] { show(flags->model, flags->json); });

  CLI::App* removing = program.add_subcommand("rm", "delete pulled models");
  removing->add_option("MODEL", flags->names, "short names of pulled models")->required();
  removing->footer("Files elsewhere are left alone.\nExample: cairn rm smollm2-135m");
  removing->callback([flags] {
    for (const std::string& name : flags->names)
      write_out(fmt::format("removed {} ({})\n", name, byte_size(remove_stored_model(name))));
  });
}

void add_completion(CLI::App& program) {
  const auto shell = std::make_shared<std::string>();
  CLI::App* command = program.add_subcommand("completion", "print a shell's completion script");
  command->add_option("SHELL", *shell, "whose")->required()->transform(one_of({"bash", "zsh", "fish"}));
  command->footer("Example: cairn completion bash > ~/.local/share/bash-completion/completions/cairn");
  command->callback([shell] { write_out(completion_script(*shell)); });
}

}  // namespace cairn::cli
