// Where libav writes.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/unfinished_file.hpp"

namespace cairn::video {

class MemoryFile;

// A file beside the wanted one that takes its name when it is whole, and is gone otherwise. What is no
// regular file (a pipe, /dev/stdout; "-": standard output) gets its bytes in the end from one in memory.
// Errors: io, naming the path: what cannot be written is told by the constructor.
class OutputFile {
 public:
  explicit OutputFile(const std::string& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  const std::string& path() const { return path_; }  // as it was asked for
  const std::string& part() const;                   // what is to be written
  void keep();

 private:
  void copy();
  [[noreturn]] void refuse() const;  // with errno

  std::string path_;
  std::optional<UnfinishedFile> file_;
  std::unique_ptr<MemoryFile> memory_;
  int descriptor_ = -1;  // where memory_ goes
};

}  // namespace cairn::video
