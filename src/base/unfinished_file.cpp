#include "base/unfinished_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/error.hpp"
#include "base/output_path.hpp"

namespace cairn {
namespace {

size_t after_folder(const std::string& path) {
  return path.rfind('/') + 1;  // npos + 1 is 0
}

bool is_still_named(int descriptor, const std::string& path) {
  struct stat opened {
  }, named{};
  return fstat(descriptor, &opened) == 0 && lstat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

}  // namespace

std::string partial_path(const std::string& path, std::string_view maker) {
  if (!is_special(path)) return fmt::format("{}.{}.partial", path, maker);
  // Beside a device or a pipe there is no place, and no later run would find it.
  const std::filesystem::path folder = std::filesystem::temp_directory_path();
  return (folder / fmt::format("cairn-{}.{}.partial", ::getpid(), maker)).string();
}

int open_locked(const std::string& path, int flags, std::string_view busy) {
  while (true) {
    const int descriptor = open(path.c_str(), flags | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (descriptor < 0) fail(ErrorCode::io, "cannot write {}: {}", path, std::strerror(errno));
    if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
      const int reason = errno;
      close(descriptor);
      if (reason == EINTR) continue;
      if (reason == EWOULDBLOCK) fail(ErrorCode::io, "{}: {}", path, busy);
      fail(ErrorCode::io, "cannot lock {}: {}", path, std::strerror(reason));
    }
    if (is_still_named(descriptor, path)) return descriptor;
    close(descriptor);
  }
}

void sync_folder_of(const std::string& path) {
  const std::string folder = path.substr(0, after_folder(path));
  const int descriptor = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;  // a folder that one may write and not list
  const int reason = fsync(descriptor) == 0 ? 0 : errno;
  close(descriptor);
  // Some file systems sync no folders.
  if (reason != 0 && reason != EINVAL && reason != ENOTSUP)
    fail(ErrorCode::io, "cannot write {}: {}", path, std::strerror(reason));
}

UnfinishedFile::UnfinishedFile(std::string target, std::string shown)
    : target_(std::move(target)), shown_(std::move(shown)) {
  static std::atomic<uint64_t> next{0};
  const size_t name = after_folder(target_);
  do {  // a process of the same number, in another container or before a crash, may have left the name
    path_ = fmt::format("{}.{}.cairn-{}-{}.part", target_.substr(0, name), target_.substr(name), ::getpid(),
                        next.fetch_add(1));
    descriptor_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (descriptor_ < 0 && errno == EEXIST);
  if (descriptor_ < 0) fail_with_errno();
  forced_.emplace([path = path_] { unlink(path.c_str()); });
}

UnfinishedFile::~UnfinishedFile() {
  if (descriptor_ >= 0) close(descriptor_);
  if (!path_.empty()) unlink(path_.c_str());
}

void UnfinishedFile::finish() {
  if (fsync(descriptor_) != 0) fail_with_errno();
  if (close(std::exchange(descriptor_, -1)) != 0) fail_with_errno();
  if (rename(path_.c_str(), target_.c_str()) != 0) fail_with_errno();
  path_.clear();
  forced_.reset();
  sync_folder_of(target_);
}

void UnfinishedFile::fail_with_errno() const {
  fail(ErrorCode::io, "cannot write {}: {}", shown_, std::strerror(errno));
}

}  // namespace cairn
