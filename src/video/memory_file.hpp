#pragma once

#include <string>

namespace cairn::video {

// A file in memory under a name that any reader opens; gone with the object.
class MemoryFile {
 public:
  MemoryFile();  // Error io
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  int descriptor_ = -1;
  std::string path_;
};

}  // namespace cairn::video
