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

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  // O_NONBLOCK: opening a named pipe must not wait for a writer; it is refused below.
  const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
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
  const auto size = static_cast<size_t>(status.st_size);
  void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, file.value, 0);
  if (data == MAP_FAILED)
    fail(ErrorCode::io, "{}: cannot map {} bytes: {}", path, size, std::strerror(errno));
  data_ = static_cast<const std::byte*>(data);
  size_ = size;
}

MappedFile::~MappedFile() {
  release();
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      path_(std::exchange(other.path_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this != &other) {
    release();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    path_ = std::exchange(other.path_, {});
  }
  return *this;
}

void MappedFile::release() noexcept {
  if (data_) munmap(const_cast<std::byte*>(data_), size_);
  data_ = nullptr;
  size_ = 0;
}

}  // namespace cairn
