#include "base/atomic_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/error.hpp"
#include "base/output_path.hpp"

namespace cairn {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;

}  // namespace

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)), target_(path_) {
  if (const int open_already = named_descriptor(path_); open_already >= 0) {
    in_place_ = fcntl(open_already, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (in_place_ < 0) fail_with_errno();
    buffer_.reserve(kBufferBytes);
    return;
  }
  std::error_code ignored;
  if (std::filesystem::is_symlink(path_, ignored)) {
    const auto followed = std::filesystem::canonical(path_, ignored);
    if (!ignored) target_ = followed.string();
  }
  struct stat status = {};
  const bool exists = stat(target_.c_str(), &status) == 0;
  if (exists && !S_ISREG(status.st_mode)) {
    in_place_ = open(target_.c_str(), O_WRONLY | O_CLOEXEC);
    if (in_place_ < 0) fail_with_errno();
  } else {
    if (exists && access(target_.c_str(), W_OK) != 0) fail_with_errno();
    unfinished_.emplace(target_, path_);
  }
  buffer_.reserve(kBufferBytes);
}

AtomicFile::~AtomicFile() {
  if (in_place_ >= 0) close(in_place_);
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
  const int descriptor = unfinished_ ? unfinished_->descriptor() : in_place_;
  for (size_t done = 0; done < buffer_.size();) {
    const ssize_t written = ::write(descriptor, buffer_.data() + done, buffer_.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_with_errno();
    done += static_cast<size_t>(written);
  }
  buffer_.clear();
}

void AtomicFile::commit() {
  flush();
  if (unfinished_) {
    unfinished_->finish();
  } else if (close(std::exchange(in_place_, -1)) != 0) {
    fail_with_errno();
  }
}

void AtomicFile::fail_with_errno() const {
  fail(ErrorCode::io, "cannot write {}: {}", path_, std::strerror(errno));
}

}  // namespace cairn
