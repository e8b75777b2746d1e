#include "base/mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.hpp"

namespace cairn {
namespace {

struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) close(value);
  }
};

// Refuses what is no regular file; returns its size.
size_t regular_size(const Descriptor& file, const std::string& path) {
  if (file.value < 0) {
    const int reason = errno;
    fail(reason == ENOENT || reason == ENOTDIR ? ErrorCode::not_found : ErrorCode::io, "{}: cannot open: {}",
         path, std::strerror(reason));
  }
  struct stat status {};
  if (fstat(file.value, &status) != 0) fail(ErrorCode::io, "{}: cannot stat: {}", path, std::strerror(errno));
  if (S_ISDIR(status.st_mode)) fail(ErrorCode::io, "{}: is a directory, not a file", path);
  if (!S_ISREG(status.st_mode)) fail(ErrorCode::io, "{}: is not a regular file", path);
  if (status.st_size == 0) fail(ErrorCode::format, "{}: the file is empty", path);
  return static_cast<size_t>(status.st_size);
}

// O_NONBLOCK: opening a named pipe must not wait for a writer; regular_size() refuses it.
int open_to_read(const std::string& path) {
  return open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  Descriptor file{open_to_read(path)};
  const size_t size = regular_size(file, path);
  void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, file.value, 0);
  if (data == MAP_FAILED)
    fail(ErrorCode::io, "{}: cannot map {} bytes: {}", path, size, std::strerror(errno));
  data_ = static_cast<const std::byte*>(data);
  size_ = size;
  descriptor_ = std::exchange(file.value, -1);
  watch_ = std::make_unique<LostPages>(data_, size_, path_);
}

void MappedFile::require_whole() const {
  if (descriptor_ < 0) return;
  struct stat status {};
  if (fstat(descriptor_, &status) != 0)
    fail(ErrorCode::io, "{}: cannot stat: {}", path_, std::strerror(errno));
  if (static_cast<uint64_t>(status.st_size) < size_) {
    fail(ErrorCode::io, "{}: was cut to {} bytes while in use, it had {}", path_, status.st_size, size_);
  }
  if (watch_->lost()) fail(ErrorCode::io, "{}: some of it could not be read", path_);
}

void MappedFile::tolerate_losses(bool on) const noexcept {
  if (watch_) watch_->tolerate(on);
}

void MappedFile::require_read() const {
  if (watch_ && watch_->lost()) require_whole();
}

MappedFile MappedFile::copy(const std::string& path, size_t size) {
  const Descriptor file{open_to_read(path)};
  regular_size(file, path);
  MappedFile result;
  result.path_ = path;
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED)
    fail(ErrorCode::out_of_memory, "{}: no memory for {} bytes: {}", path, size, std::strerror(errno));
  result.data_ = static_cast<const std::byte*>(data);
  result.size_ = size;
  for (size_t done = 0; done < size;) {
    const ssize_t got =
        pread(file.value, static_cast<std::byte*>(data) + done, size - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(ErrorCode::io, "{}: byte {}: cannot read: {}", path, done, std::strerror(errno));
    if (got == 0) fail(ErrorCode::io, "{}: ends at byte {} while it is read", path, done);
    done += static_cast<size_t>(got);
  }
  mprotect(data, size, PROT_READ);  // against our own mistakes: nothing depends on it
  return result;
}

MappedFile::~MappedFile() {
  release();
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      path_(std::exchange(other.path_, {})),
      descriptor_(std::exchange(other.descriptor_, -1)),
      watch_(std::move(other.watch_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this != &other) {
    release();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    path_ = std::exchange(other.path_, {});
    descriptor_ = std::exchange(other.descriptor_, -1);
    watch_ = std::move(other.watch_);
  }
  return *this;
}

void MappedFile::release() noexcept {
  watch_.reset();
  if (data_) munmap(const_cast<std::byte*>(data_), size_);
  if (descriptor_ >= 0) close(descriptor_);
  data_ = nullptr;
  size_ = 0;
  descriptor_ = -1;
}

}  // namespace cairn
