#include "cli/terminal.hpp"

#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cwchar>
#include <utility>

#include "cli/standard_io.hpp"

namespace cairn::cli {
namespace {

termios before, silent;

// A shell gives a stopped program's terminal its own settings; the program takes its own back.
void on_continue(int) {
  tcsetattr(STDIN_FILENO, TCSANOW, &silent);
}

size_t window_columns() {
  winsize size = {};
  // One less than there are: after a character in the last column a cursor is neither here nor there.
  return (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80) - 1;
}

size_t character_bytes(unsigned char first) {
  return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

size_t character_columns(const std::string& character) {
  std::mbstate_t state = {};
  wchar_t wide = 0;
  const size_t used = std::mbrtowc(&wide, character.data(), character.size(), &state);
  if (used == static_cast<size_t>(-1) || used == static_cast<size_t>(-2)) return 1;
  const int columns = wcwidth(wide);
  return columns < 0 ? 1 : static_cast<size_t>(columns);
}

}  // namespace

EchoOff::EchoOff() {
  if (tcgetattr(STDIN_FILENO, &before) != 0) return;
  silent = before;
  silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  changed_ = tcsetattr(STDIN_FILENO, TCSANOW, &silent) == 0;
  if (changed_) signal(SIGCONT, on_continue);
}

EchoOff::~EchoOff() {
  if (!changed_) return;
  signal(SIGCONT, SIG_DFL);
  tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

void WrappedOutput::put(std::string& out, std::string_view character, size_t columns) {
  const size_t width = window_columns();
  if (column_ + columns > width) {
    if (!word_.empty() && word_columns_ + columns < width) {
      // The word as far as it is drawn is wiped and drawn anew in the next line.
      out += "\x1b[" + std::to_string(word_columns_) + "D\x1b[K\n" + word_;
      column_ = word_columns_;
    } else {
      out += '\n';
      column_ = 0;
    }
  }
  out += character;
  column_ += columns;
}

void WrappedOutput::write(std::string_view text) {
  std::string out;
  for (const char byte : text) {
    const auto value = static_cast<unsigned char>(byte);
    if (value < 0x80) part_.clear();
    part_ += byte;
    if (part_.size() < character_bytes(static_cast<unsigned char>(part_[0]))) continue;
    const std::string character = std::exchange(part_, {});
    if (value == '\n') {
      out += '\n';
      column_ = word_columns_ = 0;
      word_.clear();
    } else if (value == '\t') {
      put(out, "    ", 4);
      word_.clear();
      word_columns_ = 0;
    } else if (value < 0x20 || value == 0x7f) {
      continue;
    } else if (value == ' ') {
      if (column_ < window_columns()) put(out, " ", 1);  // a line's end needs no blank
      word_.clear();
      word_columns_ = 0;
    } else {
      const size_t columns = character_columns(character);
      put(out, character, columns);
      word_ += character;
      word_columns_ += columns;
      if (columns > 1) word_.clear(), word_columns_ = 0;  // between such characters any line may end
    }
  }
  write_out(out);
}

}  // namespace cairn::cli
