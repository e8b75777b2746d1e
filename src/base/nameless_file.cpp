#include "base/nameless_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/error.hpp"

namespace cairn {
namespace {

constexpr size_t kBuffer = size_t{1} << 20;

int open_nameless(const std::string& folder) {
  const int descriptor = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (descriptor >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return descriptor;
  // File systems that have no such files, network ones among them: one whose name goes at once.
  std::string path = folder + "/.cairn-XXXXXX";
  const int named = mkostemp(path.data(), O_CLOEXEC);
  if (named >= 0) unlink(path.c_str());
  return named;
}

}  // namespace

NamelessFile::NamelessFile(std::string folder)
    : folder_(std::move(folder)), descriptor_(open_nameless(folder_)) {
  if (descriptor_ < 0) fail_with_errno();
  buffer_.reserve(kBuffer);
}

NamelessFile::~NamelessFile() {
  close(descriptor_);
}

void NamelessFile::write(std::span<const std::byte> bytes) {
  if (buffer_.size() + bytes.size() > kBuffer) flush();
  if (bytes.size() <= kBuffer) {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    return;
  }
  for (size_t begin = 0; begin < bytes.size(); begin += kBuffer) {
    const auto piece = bytes.subspan(begin, std::min(kBuffer, bytes.size() - begin));
    buffer_.assign(piece.begin(), piece.end());
    flush();
  }
}

void NamelessFile::flush() {
  for (size_t done = 0; done < buffer_.size();) {
    const ssize_t written = ::write(descriptor_, buffer_.data() + done, buffer_.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_with_errno();
    done += static_cast<size_t>(written);
  }
  buffer_.clear();
}

std::string NamelessFile::path() const {
  return "/proc/self/fd/" + std::to_string(descriptor_);
}

void NamelessFile::fail_with_errno() const {
  fail(ErrorCode::io, "{}: cannot keep what is converted there: {}", folder_, std::strerror(errno));
}

}  // namespace cairn
