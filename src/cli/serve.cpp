#include <fmt/format.h>

#include <chrono>
#include <deque>
#include <filesystem>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/standard_streams.hpp"
#include "cli/commands.hpp"
#include "cli/parser/values.hpp"
#include "cli/session_flags.hpp"
#include "cli/speculate_flag.hpp"
#include "cli/standard_io.hpp"
#include "llm/model.hpp"
#include "server/api.hpp"
#include "server/http_server.hpp"
#include "store/model_store.hpp"

namespace cairn::cli {
namespace {

struct Flags {
  std::vector<std::string> models;
  std::string template_file, key_file;
  bool keep_prefix = false;
  uint32_t drain = 30;
  engine::Options engine;
  llm::GenerateOptions generate;
  SpeculateFlag speculate;
  llm::SchedulerOptions scheduler;
  server::HttpOptions http;
  server::ApiOptions api;
};

// A key a line; empty lines and those that begin with # are none.
std::vector<std::string> read_keys(const std::string& path) {
  std::vector<std::string> keys;
  std::istringstream lines(read_text(path));
  for (std::string line; std::getline(lines, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty() && !line.starts_with('#')) keys.push_back(line);
  }
  if (keys.empty()) fail(ErrorCode::format, "{}: there is no key in it", path);
  return keys;
}

// What requests call a model: its short name, or its file's name without .gguf.
std::string served_name(const std::string& path) {
  const std::filesystem::path file(path);
  return file.extension() == ".gguf" ? file.stem().string() : file.filename().string();
}

server::ServedModel load(const std::string& name, const Flags& flags) {
  llm::ModelOptions options;
  if (!flags.template_file.empty()) options.chat_template = read_text(flags.template_file);
  server::ServedModel served;
  served.path = resolve_model(name);
  served.name = served_name(served.path);
  served.created =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  const auto model = llm::Model::load(served.path, options);
  served.engine = model->make_engine(flags.engine);
  served.tokenizer = model->tokenizer();
  warn_of(*served.tokenizer);
  served.chat_template = [model] { return model->chat_template(); };
  served.defaults = flags.generate;
  served.defaults.speculation = flags.speculate.kind;
  llm::SchedulerOptions scheduler = flags.scheduler;
  scheduler.draft = make_draft(flags.speculate, *model, flags.engine);
  if (flags.keep_prefix) scheduler.files = prefix_files(*model, *served.engine);
  served.scheduler = std::make_unique<llm::Scheduler>(served.engine, served.tokenizer, std::move(scheduler));
  return served;
}

bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address.starts_with("[::1]");
}

void serve(Flags& flags) {
  if (!flags.key_file.empty()) {
    for (std::string& key : read_keys(flags.key_file)) flags.api.keys.push_back(std::move(key));
  }
  share_threads(flags.speculate, flags.engine);
  flags.http.drain = std::chrono::seconds(flags.drain);
  server::HttpServer http(flags.http);  // first: a port in use is told before a model is read
  std::deque<server::ServedModel> models;
  std::set<std::string> names;
  for (const std::string& name : flags.models) {
    models.push_back(load(name, flags));
    if (!names.insert(models.back().name).second)
      fail(ErrorCode::invalid_argument, "two models would be called '{}'", models.back().name);
  }
  if (flags.api.keys.empty() && !is_loopback(http.address()))
    warn("{} can be reached from elsewhere, and no --api-key is asked for", http.address());
  server::Api api(std::move(models), flags.api);
  tell("cairn: serving {} at http://{}/v1\n", fmt::join(names, ", "), http.address());
  http.run([&](auto request, auto reply) { api.handle(std::move(request), reply); }, true);
}

}  // namespace

void add_serve(CLI::App& program) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("serve", "answer over HTTP, as OpenAI's API does");
  command->add_option("MODEL,-m,--model", flags->models, "model files or short names of pulled models")
      ->required();
  command
      ->add_option("--host", flags->http.host, "the address to listen at; 0.0.0.0 is all of this machine's")
      ->capture_default_str();
  command->add_option("--port", flags->http.port, "0 takes one that is free")
      ->capture_default_str()
      ->check(between(0, 65535));
  command
      ->add_option("--api-key", flags->api.keys, "a key that requests must have; may be given more than once")
      ->allow_extra_args(false)
      ->type_name("KEY");
  command->add_option("--api-key-file", flags->key_file, "such keys, one a line")->type_name("FILE");
  command
      ->add_option(
          "--cors", flags->api.origins,
          "web pages that may ask, such as https://example.org; * is all; may be given more than once")
      ->allow_extra_args(false)
      ->type_name("ORIGIN");
  command->add_option("--sequences", flags->scheduler.sequences, "most requests that are answered at a time")
      ->capture_default_str()
      ->check(between(1, 1024));
  command->add_option("--queue", flags->scheduler.queue, "most requests that wait behind them")
      ->capture_default_str()
      ->check(between(1, 1 << 16));
  command
      ->add_option("--drain", flags->drain,
                   "seconds that answers under way are given after SIGTERM or Ctrl-C; a second one ends them")
      ->capture_default_str()
      ->check(between(0, 86400));
  command
      ->add_option("--chat-template", flags->template_file, "a Jinja file to use instead of the models' own")
      ->type_name("FILE");
  command->add_flag("--keep-prefix", flags->keep_prefix,
                    "keep on disk what the model has read, for after a restart (docs/scheduler.md)");
  add_generate_flags(*command, flags->generate);
  add_speculate_flag(*command, flags->speculate);
  add_engine_flags(*command, flags->engine);
  command->footer(
      "The sampling flags are defaults for requests that do not say. docs/serve.md lists the paths.\n"
      "Example: cairn serve smollm2-135m --port 8080\n"
      "         curl localhost:8080/v1/completions -H 'Content-Type: application/json' -d @question.json");
  command->callback([flags] { serve(*flags); });
}

}  // namespace cairn::cli
