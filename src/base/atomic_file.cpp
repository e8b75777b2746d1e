#include "base/atomic_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/error.hpp"

namespace cairn {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;

}  // namespace

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)), target_(path_) {
  std::error_code ignored;
  if (std::filesystem::is_symlink(path_, ignored)) {
    const auto followed = std::filesystem::canonical(path_, ignored);
    if (!ignored) target_ = followed.string();
  }
  struct stat status = {};
  const bool exists = stat(target_.c_str(), &status) == 0;
  if (exists && !S_ISREG(status.st_mode)) {
    descriptor_ = open(target_.c_str(), O_WRONLY | O_CLOEXEC);
  } else {
    if (exists && access(target_.c_str(), W_OK) != 0) fail_with_errno("cannot write");
    const size_t slash = target_.rfind('/') + 1;  // npos + 1 is 0
    temporary_ = fmt::format("{}.{}.{}.part", target_.substr(0, slash), target_.substr(slash), ::getpid());
    descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (descriptor_ < 0) temporary_.clear();
  }
  if (descriptor_ < 0) fail_with_errno("cannot write");
  buffer_.reserve(kBufferBytes);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) close(descriptor_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto step = bytes.first(std::min(bytes.size(), kBufferBytes - buffer_.size()));
    buffer_.insert(buffer_.end(), step.begin(), step.end());
    bytes = bytes.subspan(step.size());
    if (buffer_.size() == kBufferBytes) flush();
  }
}

void AtomicFile::flush() {
  for (size_t done = 0; done < buffer_.size();) {
    const ssize_t written = ::write(descriptor_, buffer_.data() + done, buffer_.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_with_errno("cannot write");
    done += static_cast<size_t>(written);
  }
  buffer_.clear();
}

void AtomicFile::commit() {
  flush();
  if (!temporary_.empty() && fsync(descriptor_) != 0) fail_with_errno("cannot write");
  const int closed = close(std::exchange(descriptor_, -1));
  if (closed != 0) fail_with_errno("cannot write");
  if (temporary_.empty()) return;
  if (rename(temporary_.c_str(), target_.c_str()) != 0) fail_with_errno("cannot rename the finished file to");
  temporary_.clear();
}

void AtomicFile::fail_with_errno(const char* what) const {
  fail(ErrorCode::io, "{} {}: {}", what, path_, std::strerror(errno));
}

}  // namespace cairn
