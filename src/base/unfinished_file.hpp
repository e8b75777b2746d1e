#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/interrupt.hpp"

namespace cairn {

// Where work that goes on in a later run keeps what it has for `path`: PATH.MAKER.partial. The maker's name
// keeps the commands from taking each other's files. Beside what is no file (a device, a pipe) there is no
// place: it is the system's folder for such then, under this process's name.
std::string partial_path(const std::string& path, std::string_view maker);

// Opens or makes a file and locks it against other processes and other openings of this one. What is returned
// is the file of that name after the lock was had: one that its owner renamed or removed meanwhile is left
// alone. The caller closes it. Errors: io; `busy` tells what somebody else is doing to it.
int open_locked(const std::string& path, int flags, std::string_view busy);

// What was renamed in the folder of `path` outlasts a loss of power. Errors: io.
void sync_folder_of(const std::string& path);

// A new empty file beside `target`, hidden, of a name that no other process or thread has. Removed in the end
// unless it became the target. Errors: io, naming `shown` (the target as the user wrote it).
class UnfinishedFile {
 public:
  explicit UnfinishedFile(std::string target, std::string shown);
  ~UnfinishedFile();
  UnfinishedFile(const UnfinishedFile&) = delete;
  UnfinishedFile& operator=(const UnfinishedFile&) = delete;

  const std::string& path() const noexcept { return path_; }
  int descriptor() const noexcept { return descriptor_; }  // open for writing
  // Syncs, renames to the target, syncs the folder.
  void finish();

 private:
  [[noreturn]] void fail_with_errno() const;

  std::string target_, shown_, path_;
  int descriptor_ = -1;
  std::optional<BeforeForcedEnd> forced_;  // removes it
};

}  // namespace cairn
