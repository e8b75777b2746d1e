#include "llm/chat.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/atomic_file.hpp"
#include "base/byte_size.hpp"
#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/log.hpp"
#include "base/near_match.hpp"
#include "base/printable.hpp"
#include "base/progress.hpp"
#include "base/standard_streams.hpp"
#include "cli/chat_settings.hpp"
#include "cli/commands.hpp"
#include "cli/line_editor.hpp"
#include "cli/prefill_flags.hpp"
#include "cli/resumed_chat.hpp"
#include "cli/session_flags.hpp"
#include "cli/speculate_flag.hpp"
#include "cli/standard_io.hpp"
#include "cli/terminal.hpp"
#include "llm/model.hpp"
#include "store/model_store.hpp"

namespace cairn::cli {
namespace {

constexpr const char* kHelp =
    "/help, /?        this list\n"
    "/clear           forget the conversation, keep the system message\n"
    "/system TEXT     set the system message; without TEXT remove it\n"
    "/set NAME VALUE  temperature, top-k, …; without a name what they are\n"
    "/save FILE       write the conversation as JSON\n"
    "/load FILE       take up a conversation that was saved; or another model, by its name\n"
    "/stats           the last answer's rates and how full the context is\n"
    "/memory SIZE     a stack: most memory of this process from now on, such as 400M, auto or all; without "
    "SIZE what it has\n"
    "/regenerate      another answer to the last question (at temperature 0 too: docs/session.md)\n"
    "/exit, /bye      leave (so does Ctrl-D)\n"
    "A line that ends with \\ goes on in the next one; lines between two lines of \"\"\" are one message, "
    "and "
    "so is\n"
    "what is pasted. Tab completes; Ctrl-C stops an answer; Ctrl-Z stops the program until fg.\n";

constexpr std::array kCommands = {"/bye",  "/clear",      "/exit", "/help", "/load",  "/memory",
                                  "/quit", "/regenerate", "/save", "/set",  "/stats", "/system"};

// ~ and ~/… are the home folder's, as in a shell.
std::string expanded(const std::string& path) {
  const char* home = std::getenv("HOME");
  if (home == nullptr || (path != "~" && !path.starts_with("~/"))) return path;
  return home + path.substr(1);
}

std::vector<std::string> file_names(const std::string& begun) {
  namespace fs = std::filesystem;
  const std::string folder = begun.substr(0, begun.rfind('/') + 1);  // npos + 1 is 0
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(expanded(folder.empty() ? "./" : folder), error), end; !error && at != end;
       at.increment(error)) {
    std::error_code ignored;
    names.push_back(folder + at->path().filename().string() + (at->is_directory(ignored) ? "/" : ""));
  }
  return names;
}

// What the last word of a line may become.
std::vector<std::string> complete(const std::string& line) {
  if (!line.starts_with('/')) return {};
  const std::string last = line.substr(line.rfind(' ') + 1);
  std::vector<std::string> all;
  if (last == line) {
    all.assign(kCommands.begin(), kCommands.end());
  } else if (line.starts_with("/set ")) {
    all = parameter_names();
  } else if (line.starts_with("/save ") || line.starts_with("/load ")) {
    all = file_names(last);
    if (line.starts_with("/load ")) {
      for (const std::string& name : stored_model_names()) all.push_back(name);
    }
  }
  std::erase_if(all, [&](const std::string& word) { return !word.starts_with(last); });
  std::ranges::sort(all);
  return all;
}

struct Flags {
  std::string model, system, template_file, resume;
  bool no_stats = false, commands = false, sanitize = false;
  engine::Options engine;
  PrefillFlags prefill;
  llm::GenerateOptions generate;
  SpeculateFlag speculate;
};

bool dumb_terminal() {
  const char* terminal = std::getenv("TERM");
  return terminal == nullptr || std::string_view(terminal) == "dumb";
}

class Chat {
 public:
  explicit Chat(Flags& flags) : flags_(flags), editor_(state_file("chat_history"), complete) {
    check_outputs(flags.prefill, flags.model, {flags.template_file});
    if (!flags.resume.empty()) resumed_.emplace(flags.resume);
    open(load(flags.model));
    if (resumed_) messages_ = resumed_->take_up(*chat_);
    if (!flags.system.empty()) chat_->set_system(flags.system);
    flags_.generate.cancelled = interrupted;
    flags_.generate.speculation = flags_.speculate.kind;
  }

  void run() {
    if (editor_.on_terminal()) {
      tell("{}: {} positions of context. /help lists the commands.\n", flags_.model,
           session_->engine().context());
      if (messages_ > 0) tell("{}: {} messages so far\n", flags_.resume, messages_);
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
        if (resumed_) resumed_->keep(*chat_);
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
  std::shared_ptr<const llm::Model> load(const std::string& name) {
    llm::ModelOptions options;
    if (!flags_.template_file.empty()) options.chat_template = read_text(flags_.template_file);
    auto model = llm::Model::load(resolve_model(name), options);
    graph::require_head(model->parameters(), model->file().path());
    (void)model->chat_template();  // there is one
    return model;
  }

  // The conversation goes on with another model. The one before is dropped first: both may not fit.
  void open(const std::shared_ptr<const llm::Model>& model) {
    share_threads(flags_.speculate, flags_.engine);
    const auto draft = make_draft(flags_.speculate, *model, flags_.engine);
    const auto messages = chat_ ? chat_->conversation().messages : nlohmann::ordered_json::array();
    chat_.reset();
    session_.reset();
    session_.emplace(model->make_session(make_engine(*model, flags_.engine, flags_.prefill)));
    if (draft) session_->set_draft(draft);
    if (resumed_) session_->keep_prefixes(prefix_files(*model, session_->engine()));
    warn_of(*model->tokenizer());
    chat_.emplace(*session_, model->chat_template());
    chat_->set_sanitize(flags_.sanitize);
    chat_->set_messages(messages);
    model_ = model;
    last_ = {};
  }

  void take_up(const std::string& name) {
    const std::string path = expanded(name);
    std::error_code ignored;
    const bool conversation = path.ends_with(".json") && std::filesystem::exists(path, ignored);
    if (conversation) {
      const auto messages = nlohmann::ordered_json::parse(read_text(path), nullptr, false);
      if (messages.is_discarded()) fail(ErrorCode::format, "{}: not JSON", path);
      try {
        chat_->set_messages(messages);
      } catch (const Error& error) {
        fail(error.code(), "{}: {}", path, error.what());
      }
      write_out(fmt::format("{}: {} messages\n", path, messages.size()));
      return;
    }
    const auto model = load(path);
    const auto before = model_;
    try {
      open(model);
    } catch (const Error&) {
      open(before);
      throw;
    }
    flags_.model = name;
    write_out(fmt::format("{}: {} positions of context\n", name, session_->engine().context()));
  }

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
    std::optional<EchoOff> silence;
    std::optional<WrappedOutput> wrapped;
    if (editor_.on_terminal()) silence.emplace();
    if (editor_.on_terminal() && !dumb_terminal()) wrapped.emplace();
    const auto write = [&](const llm::TokenEvent& event) {
      if (!event.text.empty()) wrapped ? wrapped->write(event.text) : write_out(event.text);
      wrote |= !event.text.empty();
      return true;
    };
    const llm::Result result = generate(flags_.generate, write);
    progress.reset();
    silence.reset();
    if (wrote) write_out("\n");
    last_ = result.statistics;
    if (result.tokens.empty() && result.finish == llm::FinishReason::stop)
      warn("the model ended its answer at once");
    if (result.finish == llm::FinishReason::length &&
        session_->cached().size() == session_->engine().context()) {
      tell("(the context is full: /clear starts anew)\n");
    }
    if (!flags_.no_stats && logs(LogLevel::info)) tell("({})\n", describe(last_));
    if (result.finish == llm::FinishReason::cancelled && !editor_.on_terminal()) throw_if_interrupted();
  }

  void command(const std::string& line) {
    const size_t blank = line.find(' ');
    const std::string name = line.substr(0, blank);
    std::string argument = blank == std::string::npos ? "" : line.substr(blank + 1);
    while (argument.ends_with(' ')) argument.pop_back();  // a completed word has one
    if (name == "/help" || name == "/?") {
      write_out(kHelp);
    } else if (name == "/clear") {
      chat_->clear();
      session_->clear();
      last_ = {};
    } else if (name == "/system") {
      chat_->set_system(argument);
    } else if (name == "/save") {
      if (argument.empty()) fail(ErrorCode::invalid_argument, "/save needs a file's name");
      const std::string path = expanded(argument);
      flags_.prefill.files.check({path}, model_inputs(flags_.model, {flags_.template_file}));
      AtomicFile file(path);
      file.write(chat_->conversation().messages.dump(2) + "\n");
      file.commit();
    } else if (name == "/load") {
      if (argument.empty()) fail(ErrorCode::invalid_argument, "/load needs a file's or a model's name");
      take_up(argument);
    } else if (name == "/set") {
      if (argument.starts_with("system ")) return chat_->set_system(argument.substr(7));
      if (!argument.empty()) set_parameter(flags_.generate, argument);
      write_out(parameters(flags_.generate));
    } else if (name == "/stats") {
      write_out(fmt::format("{}\ncontext: {} of {} positions\n", describe(last_), session_->cached().size(),
                            session_->engine().context()));
    } else if (name == "/memory") {
      if (argument == "auto") {
        session_->engine().set_memory_auto();
      } else if (!argument.empty()) {
        session_->engine().set_memory(argument == "all" ? 0 : parse_bytes(argument, "/memory"));
      }
      write_out(describe(session_->engine()) + "\n");
      for (const std::string& problem : session_->engine().memory().problems)
        tell("{}\n", printable(problem));
    } else if (name == "/regenerate") {
      answer([&](const auto& options, const auto& callback) { return chat_->regenerate(options, callback); });
    } else if (name == "/exit" || name == "/quit" || name == "/bye") {
      left_ = true;
    } else {
      const std::vector<std::string> known(kCommands.begin(), kCommands.end());
      fail(ErrorCode::invalid_argument, "{}: no such command{}; /help lists them", name,
           did_you_mean(name, known));
    }
  }

  Flags& flags_;
  LineEditor editor_;
  std::shared_ptr<const llm::Model> model_;
  std::optional<llm::Session> session_;
  std::optional<llm::ChatSession> chat_;
  std::optional<ResumedChat> resumed_;
  size_t messages_ = 0;  // that were taken up
  llm::Statistics last_;
  bool left_ = false;
};

}  // namespace

void add_chat(CLI::App& program) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("chat", "talk with a model");
  add_model(*command, flags->model);
  command->add_option("--system", flags->system, "the system message")->type_name("TEXT");
  command
      ->add_option("--chat-template", flags->template_file, "a Jinja file to use instead of the model's own")
      ->type_name("FILE");
  add_generate_flags(*command, flags->generate);
  add_speculate_flag(*command, flags->speculate);
  add_engine_flags(*command, flags->engine);
  add_prefill_flags(*command, flags->prefill);
  command
      ->add_option("--resume", flags->resume,
                   "go on with the conversation of this name, and keep it: its text, and what the model has "
                   "read of it, so that it need not be read again")
      ->type_name("NAME");
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
