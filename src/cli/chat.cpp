#include "llm/chat.hpp"

#include <fmt/format.h>

#include <memory>
#include <optional>

#include "base/atomic_file.hpp"
#include "base/byte_size.hpp"
#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/model_store.hpp"
#include "base/printable.hpp"
#include "base/progress.hpp"
#include "base/standard_streams.hpp"
#include "cli/commands.hpp"
#include "cli/line_editor.hpp"
#include "cli/prefill_flags.hpp"
#include "cli/session_flags.hpp"
#include "cli/standard_io.hpp"
#include "llm/model.hpp"

namespace cairn::cli {
namespace {

constexpr const char* kHelp =
    "/help            this list\n"
    "/clear           forget the conversation, keep the system message\n"
    "/system TEXT     set the system message; without TEXT remove it\n"
    "/save FILE       write the conversation as JSON\n"
    "/stats           the last answer's rates and how full the context is\n"
    "/memory SIZE     a stack: most memory of this process from now on, such as 400M; without SIZE what it "
    "has\n"
    "/regenerate      another answer to the last question (at temperature 0 too: docs/session.md)\n"
    "/exit            leave (so does Ctrl-D)\n"
    "A line that ends with \\ goes on in the next one; lines between two lines of \"\"\" are one message.\n"
    "Ctrl-C stops an answer.\n";

struct Flags {
  std::string model, system, template_file;
  bool no_stats = false, commands = false, sanitize = false;
  device::RunnerOptions runner;
  PrefillFlags prefill;
  llm::GenerateOptions generate;
};

class Chat {
 public:
  explicit Chat(Flags& flags) : flags_(flags), editor_(state_file("chat_history")) {
    check_outputs(flags.prefill, flags.model, {flags.template_file});
    llm::ModelOptions options;
    if (!flags.template_file.empty()) options.chat_template = read_text(flags.template_file);
    const auto model = llm::Model::load(resolve_model(flags.model), options);
    const auto chat_template = model->chat_template();
    session_.emplace(model->make_session(make_runner(*model, flags.runner, flags.prefill)));
    warn_of(*model->tokenizer());
    chat_.emplace(*session_, chat_template, flags.system);
    chat_->set_sanitize(flags.sanitize);
    flags_.generate.cancelled = interrupted;
  }

  void run() {
    if (editor_.on_terminal()) {
      tell("{}: {} positions of context. /help lists the commands.\n", flags_.model,
           session_->runner().context());
    }
    while (!left_) {
      if (editor_.on_terminal()) clear_interrupt();  // a Ctrl-C that came when the answer was just over
      const auto input = read_turn();
      if (!input) break;
      if (input->empty()) continue;
      try {
        if (takes_commands() && input->starts_with('/')) {
          command(*input);
        } else {
          answer([&](const auto& options, const auto& callback) {
            return chat_->send(*input, options, callback);
          });
        }
      } catch (const Error& error) {
        // A person reads the error and goes on; a script is told by the exit status.
        if (!editor_.on_terminal() || error.code() == ErrorCode::cancelled) throw;
        tell("cairn: {}\n", printable(error.what()));
      }
    }
    throw_if_interrupted();
  }

 private:
  // What comes from elsewhere than a terminal may be anybody's text, and /save writes files.
  bool takes_commands() const { return flags_.commands || editor_.on_terminal(); }

  // One message, put together from the lines it takes; nothing at the end of the input.
  std::optional<std::string> read_turn() {
    auto line = editor_.read("> ");
    if (!line) return line;
    std::string turn;
    const bool block = *line == "\"\"\"";
    if (block) line = editor_.read("… ");
    while (line && (block ? *line != "\"\"\"" : line->ends_with('\\'))) {
      if (editor_.discarded()) return std::string();
      if (!block) line->pop_back();
      turn += *line + '\n';
      line = editor_.read("… ");
    }
    if (editor_.discarded()) return std::string();
    if (block && turn.ends_with('\n')) turn.pop_back();
    if (line && !block) turn += *line;
    return turn;
  }

  template <class Generate>
  void answer(const Generate& generate) {
    std::optional<Progress> progress;
    flags_.generate.progress = [&](uint32_t done, uint32_t total) {
      if (!progress) progress.emplace("prefill", total, "tokens");
      progress->update(done);
      if (done == total) progress.reset();
    };
    bool wrote = false;
    const auto write = [&](const llm::TokenEvent& event) {
      if (!event.text.empty()) write_out(event.text);
      wrote |= !event.text.empty();
      return true;
    };
    const llm::Result result = generate(flags_.generate, write);
    progress.reset();
    if (wrote) write_out("\n");
    last_ = result.statistics;
    if (result.finish == llm::FinishReason::length &&
        session_->cached().size() == session_->runner().context()) {
      tell("(the context is full: /clear starts anew)\n");
    }
    if (!flags_.no_stats) tell("({})\n", describe(last_));
    if (result.finish == llm::FinishReason::cancelled && !editor_.on_terminal()) throw_if_interrupted();
  }

  void command(const std::string& line) {
    const size_t blank = line.find(' ');
    const std::string name = line.substr(0, blank);
    const std::string argument = blank == std::string::npos ? "" : line.substr(blank + 1);
    if (name == "/help") {
      write_out(kHelp);
    } else if (name == "/clear") {
      chat_->clear();
    } else if (name == "/system") {
      chat_->set_system(argument);
    } else if (name == "/save") {
      if (argument.empty()) fail(ErrorCode::invalid_argument, "/save needs a file's name");
      flags_.prefill.files.check({argument}, model_inputs(flags_.model, {flags_.template_file}));
      AtomicFile file(argument);
      file.write(chat_->conversation().messages.dump(2) + "\n");
      file.commit();
    } else if (name == "/stats") {
      write_out(fmt::format("{}\ncontext: {} of {} positions\n", describe(last_), session_->cached().size(),
                            session_->runner().context()));
    } else if (name == "/memory") {
      if (!argument.empty()) session_->set_memory(argument == "all" ? 0 : parse_bytes(argument, "/memory"));
      write_out(describe(session_->runner()) + "\n");
      for (const std::string& problem : session_->memory().problems) tell("{}\n", printable(problem));
    } else if (name == "/regenerate") {
      answer([&](const auto& options, const auto& callback) { return chat_->regenerate(options, callback); });
    } else if (name == "/exit" || name == "/quit") {
      left_ = true;
    } else {
      fail(ErrorCode::invalid_argument, "{}: no such command; /help lists them", name);
    }
  }

  Flags& flags_;
  LineEditor editor_;
  std::optional<llm::Session> session_;
  std::optional<llm::ChatSession> chat_;
  llm::Statistics last_;
  bool left_ = false;
};

}  // namespace

void add_chat(CLI::App& program) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("chat", "talk with a model");
  command->add_option("MODEL", flags->model, "a model file or the short name of a pulled model")->required();
  command->add_option("--system", flags->system, "the system message")->type_name("TEXT");
  command
      ->add_option("--chat-template", flags->template_file, "a Jinja file to use instead of the model's own")
      ->type_name("FILE");
  add_generate_flags(*command, flags->generate);
  add_runner_flags(*command, flags->runner);
  add_prefill_flags(*command, flags->prefill);
  command->add_flag("--sanitize", flags->sanitize, kSanitizeHelp);
  command->add_flag("--no-stats", flags->no_stats, "do not print the rates to standard error");
  command->add_flag("--commands", flags->commands,
                    "take lines that begin with / as commands even when standard input is no terminal");
  command->footer(
      "Each line is a message; /help lists the commands. When standard input is no terminal, all its lines "
      "are\n"
      "messages (unless --commands is given), and the first error ends the chat.\n"
      "Example: cairn chat smollm2-135m --system 'Answer in one sentence.'");
  command->callback([flags] { Chat(*flags).run(); });
}

}  // namespace cairn::cli
