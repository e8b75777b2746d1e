#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <optional>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/model_store.hpp"
#include "base/printable.hpp"
#include "base/progress.hpp"
#include "base/standard_streams.hpp"
#include "cli/commands.hpp"
#include "cli/prefill_flags.hpp"
#include "cli/session_flags.hpp"
#include "cli/standard_io.hpp"
#include "llm/chat.hpp"
#include "llm/model.hpp"

namespace cairn::cli {
namespace {

struct Flags {
  std::string model, prompt, file, system, template_file;
  bool raw = false, sanitize = false, json = false, no_stats = false;
  device::RunnerOptions runner;
  PrefillFlags prefill;
  llm::GenerateOptions generate;
};

// The prompt without the newline that editors and `echo` put at the end.
std::string read_prompt(const std::string& path) {
  std::string text = read_text(path);
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

void run(Flags& flags, bool prompt_given) {
  check_outputs(flags.prefill, flags.model, {flags.file, flags.template_file});
  if (!prompt_given) {
    if (flags.file.empty() && isatty(STDIN_FILENO) != 0) {
      fail(ErrorCode::invalid_argument, "no prompt: give -p TEXT or -f FILE, or write it to standard input");
    }
    flags.prompt = read_prompt(flags.file.empty() ? "-" : flags.file);
  }
  llm::ModelOptions model_options;
  if (!flags.template_file.empty()) model_options.chat_template = read_text(flags.template_file);
  const auto model = llm::Model::load(resolve_model(flags.model), model_options);
  llm::Session session = model->make_session(make_runner(*model, flags.runner, flags.prefill));
  const auto prompt = llm::encode_prompt(*model, flags.prompt, flags.system, flags.raw, flags.sanitize);

  warn_of(*model->tokenizer());

  std::optional<Progress> progress;
  flags.generate.cancelled = interrupted;
  flags.generate.progress = [&](uint32_t done, uint32_t total) {
    if (!progress) progress.emplace("prefill", total, "tokens");
    progress->update(done);
    if (done == total) progress.reset();
  };
  const llm::Result result = session.generate(prompt, flags.generate, [&](const llm::TokenEvent& event) {
    if (!flags.json && !event.text.empty()) write_out(event.text);
    return true;
  });
  progress.reset();

  if (flags.json) {
    write_out(to_json(result).dump() + "\n");
  } else if (!result.text.empty() && !result.text.ends_with('\n')) {
    write_out("\n");
  }
  if (!flags.no_stats && !flags.json) tell("{}\n", describe(result.statistics));
  if (!flags.no_stats && !flags.json && session.runner().elastic()) tell("{}\n", describe(session.runner()));
  for (const std::string& problem : session.memory().problems) tell("cairn: {}\n", printable(problem));
  report_prefill(session.runner(), flags.prefill, flags.no_stats || flags.json);
  if (result.finish == llm::FinishReason::cancelled) throw_if_interrupted();
}

}  // namespace

void add_run(CLI::App& program) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("run", "answer one prompt");
  command->add_option("MODEL", flags->model, "a model file or the short name of a pulled model")->required();
  CLI::Option* prompt =
      command->add_option("-p,--prompt", flags->prompt, "the prompt; standard input if not given")
          ->type_name("TEXT");
  command->add_option("-f,--file", flags->file, "read the prompt from a file; - is standard input")
      ->type_name("FILE")
      ->excludes(prompt);
  command->add_option("--system", flags->system, "a system message before the prompt")->type_name("TEXT");
  command->add_flag("--raw", flags->raw, "continue the prompt as it is, without the model's chat template");
  command
      ->add_option("--chat-template", flags->template_file, "a Jinja file to use instead of the model's own")
      ->type_name("FILE");
  add_generate_flags(*command, flags->generate);
  add_runner_flags(*command, flags->runner);
  add_prefill_flags(*command, flags->prefill);
  command->add_flag("--sanitize", flags->sanitize, kSanitizeHelp);
  command->add_flag("--json", flags->json, "print one JSON object at the end instead of the text");
  command->add_flag("--no-stats", flags->no_stats, "do not print the rates to standard error");
  command->footer(
      "A model with a chat template is asked the prompt as a question; one without continues it.\n"
      "Ctrl-C stops and keeps what was written; the exit status is 130 then.\n"
      "Example: cairn run smollm2-135m -p 'Why is the sky blue?' -n 64 --temperature 0");
  command->callback([flags, prompt] { run(*flags, prompt->count() > 0); });
}

}  // namespace cairn::cli
