#include "cli/line_editor.hpp"

#include <histedit.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <clocale>
#include <cstdlib>
#include <cwchar>
#include <filesystem>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "cli/standard_io.hpp"

namespace cairn::cli {
namespace {

constexpr int kHistoryLines = 1000;

// In place of libedit's own: a signal ends the wait for a key whenever it comes.
int read_character(EditLine*, wchar_t* character) {
  std::mbstate_t state = {};
  while (true) {
    char byte = 0;
    try {
      if (read_some(STDIN_FILENO, {&byte, 1}, "standard input") == 0) return 0;
    } catch (const Error&) {
      return -1;  // nothing may be thrown through libedit; the caller sees the flag
    }
    const size_t size = std::mbrtowc(character, &byte, 1, &state);
    if (size == static_cast<size_t>(-2)) continue;  // the character goes on
    if (size != static_cast<size_t>(-1)) return 1;
    state = {};  // no character: drop it
  }
}

}  // namespace

// Terminals put these around pasted text once they are asked to (bracketed paste).
constexpr const char* kPasteOn = "\x1b[?2004h";
constexpr const char* kPasteOff = "\x1b[?2004l";
constexpr std::wstring_view kPasteEnd = L"\x1b[201~";

void tell_terminal(const char* sequence) {
  std::fputs(sequence, stdout);
  std::fflush(stdout);
}

std::string common_beginning(const std::vector<std::string>& words) {
  std::string common = words.front();
  for (const std::string& word : words) {
    size_t same = 0;
    while (same < common.size() && same < word.size() && common[same] == word[same]) ++same;
    common.resize(same);
  }
  return common;
}

// libedit's own interface; its imitation of readline's leaves signals and the terminal to chance.
struct LineEditor::Editor {
  Editor(std::string path, Complete what) : history_path(std::move(path)), complete(std::move(what)) {
    // libedit edits characters of the user's encoding; answers are UTF-8 even where none is set.
    std::setlocale(LC_CTYPE, "");
    if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
    lines = history_init();
    history(lines, &event, H_SETSIZE, kHistoryLines);
    history(lines, &event, H_SETUNIQUE, 1);
    if (!history_path.empty()) history(lines, &event, H_LOAD, history_path.c_str());
    edit = el_init("cairn", stdin, stdout, stderr);
    el_set(edit, EL_CLIENTDATA, this);
    el_set(
        edit, EL_PROMPT, +[](EditLine* e) { return of(e)->prompt.data(); });
    el_set(edit, EL_EDITOR, "emacs");
    el_set(edit, EL_GETCFN, read_character);
    el_set(edit, EL_HIST, history, lines);
    // While a line is edited Ctrl-C is a key, not a signal: it drops the line.
    el_set(edit, EL_SETTY, "-d", "-isig", nullptr);
    // The wide form: the narrow one leaks copies of the names.
    el_wset(
        edit, EL_ADDFN, L"cairn-discard", L"drop the line", +[](EditLine* e, int) -> unsigned char {
          of(e)->discarded = true;
          return CC_NEWLINE;
        });
    el_set(edit, EL_BIND, "^C", "cairn-discard", nullptr);
    el_wset(
        edit, EL_ADDFN, L"cairn-paste", L"take pasted text as it is",
        +[](EditLine* e, int) -> unsigned char { return take_paste(e); });
    el_set(edit, EL_BIND, "\x1b[200~", "cairn-paste", nullptr);
    el_wset(
        edit, EL_ADDFN, L"cairn-complete", L"complete the word",
        +[](EditLine* e, int) -> unsigned char { return of(e)->complete_word(); });
    el_set(edit, EL_BIND, "^I", "cairn-complete", nullptr);
    el_wset(
        edit, EL_ADDFN, L"cairn-stop", L"stop the program",
        +[](EditLine* e, int) -> unsigned char { return stop(e); });
    el_set(edit, EL_BIND, "^Z", "cairn-stop", nullptr);
    el_set(edit, EL_BIND, "\x1b[3~", "ed-delete-next-char", nullptr);
    el_set(edit, EL_BIND, "\x1b[H", "ed-move-to-beg", nullptr);
    el_set(edit, EL_BIND, "\x1b[F", "ed-move-to-end", nullptr);
    el_set(edit, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  }

  ~Editor() {
    el_end(edit);
    history_end(lines);
  }

  static Editor* of(EditLine* e) {
    void* self = nullptr;
    el_get(e, EL_CLIENTDATA, &self);
    return static_cast<Editor*>(self);
  }

  // In place of the shell's own: the terminal is the shell's while the program is stopped.
  static unsigned char stop(EditLine* e) {
    tell_terminal(kPasteOff);
    el_set(e, EL_PREP_TERM, 0);
    kill(0, SIGTSTP);
    el_set(e, EL_PREP_TERM, 1);
    tell_terminal(kPasteOn);
    return CC_REDISPLAY;
  }

  static unsigned char take_paste(EditLine* e) {
    std::wstring text;
    wchar_t character = 0;
    while (!text.ends_with(kPasteEnd)) {
      if (el_wgetc(e, &character) != 1) return CC_EOF;
      text += character == L'\r' ? L'\n' : character;
    }
    text.resize(text.size() - kPasteEnd.size());
    std::erase_if(text, [](wchar_t c) { return (c < 0x20 && c != L'\n' && c != L'\t') || c == 0x7f; });
    while (text.ends_with(L'\n')) text.pop_back();  // Return sends it
    if (!text.empty() && el_winsertstr(e, text.c_str()) != 0) return CC_ERROR;
    return CC_REFRESH;
  }

  unsigned char complete_word() {
    const LineInfo* info = el_line(edit);
    const std::string line(info->buffer, static_cast<size_t>(info->cursor - info->buffer));
    const std::vector<std::string> words = complete ? complete(line) : std::vector<std::string>();
    if (words.empty()) return CC_ERROR;
    const std::string last = line.substr(line.find_last_of(" \n") + 1);
    std::string more = common_beginning(words).substr(last.size());
    if (words.size() == 1 && !words[0].ends_with('/')) more += ' ';
    if (!more.empty()) return el_insertstr(edit, more.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
    std::fputc('\n', stdout);
    for (const std::string& word : words) std::fprintf(stdout, "%s  ", word.c_str());
    std::fputc('\n', stdout);
    return CC_REDISPLAY;
  }

  std::optional<std::string> read() {
    discarded = false;
    int size = 0;
    tell_terminal(kPasteOn);
    const char* text = el_gets(edit, &size);
    tell_terminal(kPasteOff);
    if (discarded) {
      std::fputs("^C\n", stdout);
      el_reset(edit);
      return std::string();
    }
    if (text == nullptr || size <= 0) {
      std::fputc('\n', stdout);
      return std::nullopt;
    }
    std::string line(text, static_cast<size_t>(size));
    while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
    if (line.find_first_not_of(" \t") != std::string::npos) {
      history(lines, &event, H_ENTER, line.c_str());
      if (!history_path.empty()) history(lines, &event, H_SAVE, history_path.c_str());
    }
    return line;
  }

  std::string history_path, prompt;
  Complete complete;
  EditLine* edit;
  History* lines;
  HistEvent event;
  bool discarded = false;
};

LineEditor::LineEditor(std::string history_path, Complete complete) {
  if (isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0) {
    editor_ = std::make_unique<Editor>(std::move(history_path), std::move(complete));
  }
}

LineEditor::~LineEditor() = default;

bool LineEditor::discarded() const noexcept {
  return editor_ && editor_->discarded;
}
bool LineEditor::on_terminal() const noexcept {
  return editor_ != nullptr;
}

std::optional<std::string> LineEditor::read(const std::string& prompt) {
  std::fflush(stdout);
  if (editor_) {
    editor_->prompt = prompt;
    return editor_->read();
  }
  return read_plain();
}

std::optional<std::string> LineEditor::read_plain() {
  size_t end = 0;
  while ((end = ahead_.find('\n')) == std::string::npos) {
    std::array<char, 4096> buffer;
    const size_t size = read_some(STDIN_FILENO, buffer, "standard input");
    ahead_.append(buffer.data(), size);
    if (size > 0) continue;
    if (ahead_.empty()) return std::nullopt;
    return std::exchange(ahead_, {});
  }
  std::string line = ahead_.substr(0, end);
  ahead_.erase(0, end + 1);
  return line;
}

std::string state_file(const std::string& name) {
  namespace fs = std::filesystem;
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  fs::path folder;
  if (state != nullptr && *state == '/') {
    folder = fs::path(state) / "cairn";
  } else if (home != nullptr && *home == '/') {
    folder = fs::path(home) / ".local/state/cairn";
  } else {
    return {};
  }
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return {};
  fs::permissions(folder, fs::perms::owner_all, error);  // what a person typed is nobody else's business
  return (folder / name).string();
}

}  // namespace cairn::cli
