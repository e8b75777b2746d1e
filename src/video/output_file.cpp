#include "video/output_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.hpp"
#include "base/output_path.hpp"
#include "video/memory_file.hpp"

namespace cairn::video {

OutputFile::OutputFile(const std::string& path) : path_(path) {
  const int open_already = path == "-" ? STDOUT_FILENO : named_descriptor(path);
  if (open_already >= 0 || is_special(path)) {
    descriptor_ = open_already >= 0 ? dup(open_already) : open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor_ < 0) refuse();
    memory_ = std::make_unique<MemoryFile>();
    return;
  }
  std::error_code ignored;
  std::string target = path;  // links followed
  if (std::filesystem::is_symlink(path, ignored)) {
    const auto followed = std::filesystem::canonical(path, ignored);
    if (!ignored) target = followed.string();
  }
  if (access(target.c_str(), F_OK) == 0 && access(target.c_str(), W_OK) != 0) refuse();
  file_.emplace(target, path);
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

const std::string& OutputFile::part() const {
  return file_ ? file_->path() : memory_->path();
}

void OutputFile::keep() {
  if (file_) {
    file_->finish();
  } else {
    copy();
  }
}

void OutputFile::copy() {
  const int from = open(memory_->path().c_str(), O_RDONLY | O_CLOEXEC);
  if (from < 0) refuse();
  std::array<char, 1 << 16> bytes{};
  ssize_t count = 0, written = 0;
  while (written >= 0 && (count = read(from, bytes.data(), bytes.size())) > 0) {
    for (ssize_t done = 0; done < count && written >= 0; done += written) {
      do {
        written = write(descriptor_, bytes.data() + done, static_cast<size_t>(count - done));
      } while (written < 0 && errno == EINTR);
    }
  }
  const int reason = errno;
  close(from);
  errno = reason;
  if (count < 0 || written < 0) refuse();
}

void OutputFile::refuse() const {
  fail(ErrorCode::io, "{}: cannot be written: {}", path_ == "-" ? "standard output" : path_,
       std::strerror(errno));
}

}  // namespace cairn::video
