// What a conversation does to its terminal besides editing lines.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cairn::cli {

// While it lives, keys that are typed are kept for the next line instead of being shown between an answer's
// words. Does nothing where standard input is no terminal.
class EchoOff {
 public:
  EchoOff();
  ~EchoOff();
  EchoOff(const EchoOff&) = delete;
  EchoOff& operator=(const EchoOff&) = delete;

 private:
  bool changed_ = false;
};

// Writes text to standard output so that lines end between words: a word that crosses the window's right edge
// is taken back and goes on in the next line. Control characters other than line ends and tabs are left out.
class WrappedOutput {
 public:
  void write(std::string_view text);

 private:
  void put(std::string& out, std::string_view character, size_t columns);

  size_t column_ = 0;  // where the next character comes
  std::string word_;   // since the last blank, when it is short enough to be moved
  size_t word_columns_ = 0;
  std::string part_;  // bytes of a character that is not whole yet
};

}  // namespace cairn::cli
