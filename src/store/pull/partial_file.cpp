#include "store/pull/partial_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "base/atomic_file.hpp"
#include "base/error.hpp"
#include "base/unfinished_file.hpp"

namespace cairn {

PartialFile::PartialFile(const std::string& destination)
    : destination_(destination), path_(partial_path(destination, "pull")), note_path_(path_ + ".from") {
  descriptor_ = open_locked(path_, O_WRONLY, "another process is downloading it");
  const off_t end = lseek(descriptor_, 0, SEEK_END);
  size_ = end > 0 ? static_cast<uint64_t>(end) : 0;
}

PartialFile::~PartialFile() {
  if (descriptor_ < 0) return;
  if (size_ == 0)
    discard();
  else
    close(descriptor_);
}

std::string PartialFile::validator(const std::string& url) const {
  std::ifstream note(note_path_);
  std::string from, validator;
  std::getline(note, from);
  std::getline(note, validator);
  return from == url ? validator : "";
}

void PartialFile::remember(const std::string& url, const std::string& validator) {
  AtomicFile note(note_path_);
  note.write(fmt::format("{}\n{}\n", url, validator));
  note.commit();
}

void PartialFile::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_with_errno(path_);
    size_ += static_cast<uint64_t>(written);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void PartialFile::restart() {
  if (ftruncate(descriptor_, 0) != 0 || lseek(descriptor_, 0, SEEK_SET) != 0) fail_with_errno(path_);
  size_ = 0;
}

void PartialFile::finish() {
  if (fsync(descriptor_) != 0) fail_with_errno(path_);
  if (rename(path_.c_str(), destination_.c_str()) != 0) fail_with_errno(destination_);
  sync_folder_of(destination_);
  unlink(note_path_.c_str());
}

void PartialFile::discard() noexcept {
  unlink(path_.c_str());
  unlink(note_path_.c_str());
  close(std::exchange(descriptor_, -1));  // from here on another process may have one of that name
}

void PartialFile::fail_with_errno(const std::string& path) const {
  fail(ErrorCode::io, "cannot write {}: {}", path, std::strerror(errno));
}

}  // namespace cairn
