#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/memory_pressure.hpp"
#include "base/standard_streams.hpp"
#include "cli/commands.hpp"
#include "cli/parser/values.hpp"
#include "cli/pooling_flag.hpp"
#include "cli/prefill_flags.hpp"
#include "cli/session_flags.hpp"
#include "cli/speculate_flag.hpp"
#include "cli/standard_io.hpp"
#include "llm/model.hpp"
#include "server/api.hpp"
#include "server/http_server.hpp"
#include "server/service_manager.hpp"
#include "store/model_store.hpp"

namespace cairn::cli {
namespace {

struct Flags {
  std::vector<std::string> models;
  std::string template_file, key_file;
  bool keep_prefix = false;
  uint32_t drain = 30, idle = 0, answer_time = 0;
  std::optional<llm::Pooling> pooling;
  engine::Options engine;
  PrefillFlags prefill;
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

std::shared_ptr<server::ServedModel> load(const server::ModelSource& source, const Flags& flags) {
  llm::ModelOptions options;
  if (!flags.template_file.empty()) options.chat_template = read_text(flags.template_file);
  auto served = std::make_shared<server::ServedModel>();
  served->path = source.path;
  served->name = source.name;
  const auto model = llm::Model::load(served->path, options);
  served->engine = flags.prefill.given() ? make_engine(*model, flags.engine, flags.prefill)
                                         : model->make_engine(flags.engine);
  served->tokenizer = model->tokenizer();
  warn_of(*served->tokenizer);
  served->chat_template = [model] { return model->chat_template(); };
  served->pooling = flags.pooling ? flags.pooling : llm::pooling_of(model->file());
  served->defaults = flags.generate;
  served->defaults.speculation = flags.speculate.kind;
  llm::SchedulerOptions scheduler = flags.scheduler;
  scheduler.draft = make_draft(flags.speculate, *model, flags.engine);
  if (flags.keep_prefix) {
    llm::check_prefixes(model->file(), *served->engine);
    scheduler.files = prefix_files(*model, *served->engine);
  }
  // A stack's blocks are read at the first step; whoever asks first need not wait for that.
  if (served->engine->elastic()) served->engine->reserve(*served->engine->make_sequence(), 1);
  served->scheduler =
      std::make_unique<llm::Scheduler>(served->engine, served->tokenizer, std::move(scheduler));
  return served;
}

std::vector<server::ModelSource> sources(const Flags& flags) {
  const int64_t now =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  std::vector<server::ModelSource> all;
  for (const std::string& name : flags.models) {
    server::ModelSource source;
    source.path = resolve_model(name);
    source.name = served_name(source.path);
    source.created = now;
    source.load = [source, &flags] { return load(source, flags); };
    all.push_back(std::move(source));
  }
  return all;
}

bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address.starts_with("[::1]");
}

void serve(Flags& flags) {
  if (!flags.key_file.empty()) {
    for (std::string& key : read_keys(flags.key_file)) flags.api.access.keys.push_back(std::move(key));
  }
  choose_device(flags.engine, flags.keep_prefix);
  // Before models are read, which may be when they are asked for.
  if (!flags.prefill.device.empty()) offload::accelerator_traits(flags.prefill.device);
  share_threads(flags.speculate, flags.engine, flags.models.size() > 1);
  flags.http.drain = std::chrono::seconds(flags.drain);
  flags.api.answer_time = std::chrono::seconds(flags.answer_time);
  flags.api.models.idle = std::chrono::seconds(flags.idle);
  flags.api.models.available = [pressure = MemoryPressure()] { return pressure.read().available; };
  std::vector<std::string> names;
  std::string address;
  flags.http.listening = [&] {
    tell("cairn: serving {} at http://{}/v1\n", fmt::join(names, ", "), address);
    server::notify_service_manager("READY=1");
  };
  flags.http.stopping = [] { server::notify_service_manager("STOPPING=1"); };
  server::HttpServer http(flags.http);  // first: a port in use is told before a model is read
  address = http.address();
  flags.api.access.local = is_loopback(address);
  flags.api.access.hosts.push_back(flags.http.host);
  if (flags.api.access.keys.empty() && !flags.api.access.local)
    warn("{} can be reached from elsewhere, and no --api-key is asked for", address);
  std::vector<server::ModelSource> models = sources(flags);
  for (const server::ModelSource& one : models) names.push_back(one.name);
  server::Api api(std::move(models), flags.api);
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
      ->add_option("--api-key", flags->api.access.keys,
                   "a key that requests must have; may be given more than once")
      ->allow_extra_args(false)
      ->type_name("KEY");
  command->add_option("--api-key-file", flags->key_file, "such keys, one a line")->type_name("FILE");
  command
      ->add_option(
          "--cors", flags->api.access.origins,
          "web pages that may ask, such as https://example.org; * is all; may be given more than once")
      ->allow_extra_args(false)
      ->type_name("ORIGIN");
  command
      ->add_option(
          "--allow-host", flags->api.access.hosts,
          "a name by which this server is reached, where a proxy passes it on; * is any; may be given "
          "more than once")
      ->allow_extra_args(false)
      ->type_name("NAME");
  command
      ->add_option(
          "--models-max", flags->api.models.most,
          "most models that are loaded at a time, each when it is asked for; all, and at once, if not "
          "given")
      ->check(between(1, 1024));
  command
      ->add_option("--idle-unload", flags->idle,
                   "seconds without a request after which a model is unloaded, until it is asked for again")
      ->check(between(1, 1 << 30))
      ->type_name("SECONDS");
  command->add_option("--sequences", flags->scheduler.sequences, "most requests that are answered at a time")
      ->capture_default_str()
      ->check(between(1, 1024));
  command->add_option("--queue", flags->scheduler.queue, "most requests that wait behind them")
      ->capture_default_str()
      ->check(between(1, 1 << 16));
  command
      ->add_option("--request-timeout", flags->answer_time,
                   "most seconds from a request to its answer's end, waiting in the queue and for the model "
                   "included; no limit if not given")
      ->check(between(1, 1 << 30))
      ->type_name("SECONDS");
  command
      ->add_option("--drain", flags->drain,
                   "seconds that answers under way are given after SIGTERM or Ctrl-C; a second one ends them")
      ->capture_default_str()
      ->check(between(0, 86400));
  command
      ->add_option("--chat-template", flags->template_file, "a Jinja file to use instead of the models' own")
      ->type_name("FILE");
  add_pooling_flag(*command, flags->pooling);
  command->add_flag("--keep-prefix", flags->keep_prefix,
                    "keep on disk what the model has read, for after a restart (docs/scheduler.md)");
  add_generate_flags(*command, flags->generate);
  add_speculate_flag(*command, flags->speculate);
  add_engine_flags(*command, flags->engine);
  add_served_prefill_flags(*command, flags->prefill);
  command->footer(
      "The sampling flags are defaults for requests that do not say. docs/serve.md lists the paths.\n"
      "Example: cairn serve smollm2-135m --port 8080\n"
      "         curl localhost:8080/v1/completions -H 'Content-Type: application/json' -d @question.json");
  command->callback([flags] { serve(*flags); });
}

}  // namespace cairn::cli
