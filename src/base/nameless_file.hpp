#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace cairn {

// A file without a name, on the disk of a folder: what lies in it takes no memory that the system could not
// have back, and is gone with the last that has it open or mapped, however the process ends. Errors: io,
// naming the folder.
class NamelessFile {
 public:
  explicit NamelessFile(std::string folder);
  ~NamelessFile();
  NamelessFile(const NamelessFile&) = delete;
  NamelessFile& operator=(const NamelessFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void flush();
  // Leads to the file while this object lives.
  std::string path() const;

 private:
  [[noreturn]] void fail_with_errno() const;

  std::string folder_;
  int descriptor_;
  std::vector<std::byte> buffer_;
};

}  // namespace cairn
