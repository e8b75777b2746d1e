#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace cairn::cli {

// Reads lines from standard input: on a terminal with editing, completion by Tab, a history that is kept in a
// file, and pasted text as one line that may hold newlines; else plainly and without a prompt.
class LineEditor {
 public:
  // history_path may be empty: nothing is kept then. A history that cannot be read or written is no error.
  // `complete` gives what may stand in place of the last word of a line.
  using Complete = std::function<std::vector<std::string>(const std::string& line)>;
  explicit LineEditor(std::string history_path, Complete complete = {});
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  // The next line without its newline; nothing at the end of the input (Ctrl-D). Ctrl-C on a terminal drops
  // the line: it comes back empty and discarded() is true. Errors off a terminal: io, cancelled.
  std::optional<std::string> read(const std::string& prompt);
  bool discarded() const noexcept;
  bool on_terminal() const noexcept;

 private:
  struct Editor;
  std::optional<std::string> read_plain();

  std::unique_ptr<Editor> editor_;  // on a terminal only
  std::string ahead_;               // read from elsewhere, but not yet handed out
};

// $XDG_STATE_HOME/cairn/NAME or ~/.local/state/cairn/NAME, its folder made; empty where that cannot be.
std::string state_file(const std::string& name);

}  // namespace cairn::cli
