#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/unfinished_file.hpp"

namespace cairn {

// A file that appears under its name only when it is whole: written beside it, synced, renamed. Without
// commit() (an exception, an interrupt) nothing is left behind. A target that is no regular file (a pipe,
// /dev/stdout) is written in place. Errors: io, naming the path and the system's reason.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  void commit();

 private:
  void flush();
  [[noreturn]] void fail_with_errno() const;

  std::string path_;    // as the caller named it, for errors
  std::string target_;  // links followed
  std::optional<UnfinishedFile> unfinished_;
  int in_place_ = -1;  // where that is absent
  std::vector<std::byte> buffer_;
};

}  // namespace cairn
