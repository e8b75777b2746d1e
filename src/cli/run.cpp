#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/log.hpp"
#include "base/progress.hpp"
#include "base/standard_streams.hpp"
#include "cli/commands.hpp"
#include "cli/grammar_flags.hpp"
#include "cli/prefill_flags.hpp"
#include "cli/session_flags.hpp"
#include "cli/speculate_flag.hpp"
#include "cli/standard_io.hpp"
#include "llm/chat.hpp"
#include "llm/model.hpp"
#include "store/model_store.hpp"

namespace cairn::cli {
namespace {

struct Flags {
  std::string model, prompt, file, system, template_file;
  std::vector<std::string> words;  // of the prompt, after the model
  bool raw = false, sanitize = false, json = false, no_stats = false, keep_prefix = false;
  engine::Options engine;
  PrefillFlags prefill;
  llm::GenerateOptions generate;
  GrammarFlags grammar;
  SpeculateFlag speculate;
};

// The prompt without the newline that editors and `echo` put at the end.
std::string read_prompt(const std::string& path) {
  std::string text = read_text(path);
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

void run(Flags& flags, bool prompt_given) {
  check_outputs(flags.prefill, flags.model,
                {flags.file, flags.template_file, flags.grammar.schema_file, flags.grammar.grammar_file});
  if (!flags.words.empty()) {
    if (prompt_given || !flags.file.empty())
      fail(ErrorCode::invalid_argument, "the prompt is given twice: '{}', and by {}", flags.words[0],
           prompt_given ? "-p" : "-f");
    flags.prompt = fmt::format("{}", fmt::join(flags.words, " "));
  } else if (!prompt_given) {
    if (flags.file.empty() && isatty(STDIN_FILENO) != 0) {
      fail(ErrorCode::invalid_argument,
           "no prompt: write it after the model, give -p TEXT or -f FILE, or write it to standard input");
    }
    flags.prompt = read_prompt(flags.file.empty() ? "-" : flags.file);
  }
  llm::ModelOptions model_options;
  if (!flags.template_file.empty()) model_options.chat_template = read_text(flags.template_file);
  const auto model = llm::Model::load(resolve_model(flags.model), model_options);
  flags.generate.grammar = make_grammar(flags.grammar, model->tokenizer());
  flags.generate.speculation = flags.speculate.kind;
  choose_device(flags.engine, flags.keep_prefix);
  share_threads(flags.speculate, flags.engine);
  const auto draft = make_draft(flags.speculate, *model, flags.engine);
  llm::Session session = model->make_session(make_engine(*model, flags.engine, flags.prefill));
  if (draft) session.set_draft(draft);
  const auto prompt = llm::encode_prompt(*model, flags.prompt, flags.system, flags.raw, flags.sanitize);

  if (flags.keep_prefix) {
    llm::check_prefixes(model->file(), session.engine());
    session.keep_prefixes(prefix_files(*model, session.engine()));
  }
  warn_of(*model->tokenizer());

  std::optional<Progress> progress;
  progress.emplace("prefill", prompt.size(), "tokens");
  flags.generate.cancelled = interrupted;
  flags.generate.progress = [&](uint32_t done, uint32_t total) {
    if (!progress) return;
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
  if (result.tokens.empty() && result.finish == llm::FinishReason::stop && flags.generate.max_tokens > 0) {
    warn("the model ended its answer at once{}",
         flags.raw ? "; --ignore-end goes on, and without --raw its chat template is used" : "");
  }
  const bool quiet = flags.no_stats || flags.json || !logs(LogLevel::info);
  if (!quiet) tell("{}\n", describe(result.statistics));
  if (!quiet && session.engine().elastic()) tell("{}\n", describe(session.engine()));
  for (const std::string& problem : session.engine().memory().problems) warn("{}", problem);
  // Before the files: what is interrupted leaves none, so that it can be called again.
  if (result.finish == llm::FinishReason::cancelled) throw_if_interrupted();
  report_prefill(session.engine(), flags.prefill, quiet);
}

}  // namespace

void add_run(CLI::App& program) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("run", "answer one prompt");
  add_model(*command, flags->model);
  command->add_option("PROMPT", flags->words, "the prompt; standard input if it is not given at all");
  CLI::Option* prompt =
      command->add_option("-p,--prompt", flags->prompt, "the prompt, as a flag")->type_name("TEXT");
  command->add_option("-f,--file", flags->file, "read the prompt from a file; - is standard input")
      ->type_name("FILE")
      ->excludes(prompt);
  command->add_option("--system", flags->system, "a system message before the prompt")->type_name("TEXT");
  command->add_flag("--raw", flags->raw, "continue the prompt as it is, without the model's chat template");
  command
      ->add_option("--chat-template", flags->template_file, "a Jinja file to use instead of the model's own")
      ->type_name("FILE");
  add_generate_flags(*command, flags->generate);
  add_grammar_flags(*command, flags->grammar);
  add_speculate_flag(*command, flags->speculate);
  add_engine_flags(*command, flags->engine);
  add_prefill_flags(*command, flags->prefill);
  command->add_flag(
      "--keep-prefix", flags->keep_prefix,
      "keep on disk what the model has read, so that the next run need not read an equal beginning "
      "again (docs/scheduler.md)");
  command->add_flag("--sanitize", flags->sanitize, kSanitizeHelp);
  command->add_flag("--json", flags->json, "print one JSON object at the end instead of the text");
  command->add_flag("--no-stats", flags->no_stats, "do not print the rates to standard error");
  command->footer(
      "A model with a chat template is asked the prompt as a question; one without continues it.\n"
      "Ctrl-C stops and keeps what was written; the exit status is 130 then.\n"
      "Example: cairn run smollm2-135m 'Why is the sky blue?' -n 64 --temperature 0\n"
      "Example: cairn run large.gguf -f edit.txt --speculate draft:small.gguf\n"
      "Example: cairn run smollm2-135m 'Two cities of Norway' --json-schema cities.json");
  command->callback([flags, prompt] { run(*flags, prompt->count() > 0); });
}

}  // namespace cairn::cli
