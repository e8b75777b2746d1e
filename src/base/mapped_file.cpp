#include "base/mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <exception>
#include <mutex>
#include <utility>

#include "base/error.hpp"
#include "base/interruptible.hpp"
#include "base/system_pages.hpp"

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

constexpr size_t kHugePage = size_t{2} << 20;

// mmap() of `size` bytes that begin where a huge page may.
void* map_aligned(size_t size, int protection, int flags, int descriptor) {
  if (size < kHugePage) return mmap(nullptr, size, protection, flags, descriptor, 0);
  const uint64_t page = system_page_bytes();
  const size_t used = page_up(size, page), reserved = used + kHugePage;
  void* all = mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all == MAP_FAILED) return all;
  auto* const begin = static_cast<std::byte*>(all);
  const auto at = reinterpret_cast<uintptr_t>(all);
  const PageRange place = aligned_place(at, size, kHugePage, page);
  std::byte* const from = begin + (place.begin - at);
  if (place.begin > at) munmap(begin, place.begin - at);
  if (place.end < at + reserved) munmap(from + used, at + reserved - place.end);
  void* const data = mmap(from, size, protection, flags | MAP_FIXED, descriptor, 0);
  if (data == MAP_FAILED) {
    const int reason = errno;
    munmap(from, used);
    errno = reason;
  }
  return data;
}

// Memory that is not the file's yet, on huge pages where there are some.
struct OwnMemory {
  OwnMemory(size_t bytes, const std::string& path) : size(bytes) {
    data = map_aligned(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (data == MAP_FAILED)
      fail(ErrorCode::out_of_memory, "{}: no memory for {} bytes: {}", path, size, std::strerror(errno));
    madvise(data, size, MADV_HUGEPAGE);
  }
  ~OwnMemory() {
    if (data != MAP_FAILED) munmap(data, size);
  }
  OwnMemory(const OwnMemory&) = delete;
  OwnMemory& operator=(const OwnMemory&) = delete;

  void* data;
  const size_t size;
};

// Bytes [begin, end) of the file to `to`, which is where its first byte would go.
void read_bytes(int descriptor, const std::string& path, std::byte* to, size_t begin, size_t end) {
  while (begin < end) {
    const ssize_t got = pread(descriptor, to + begin, end - begin, static_cast<off_t>(begin));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(ErrorCode::io, "{}: byte {}: cannot read: {}", path, begin, std::strerror(errno));
    if (got == 0) fail(ErrorCode::io, "{}: ends at byte {} while it is read", path, begin);
    begin += static_cast<size_t>(got);
  }
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  Descriptor file{open_to_read(path)};
  const size_t size = regular_size(file, path);
  void* data = map_aligned(size, PROT_READ, MAP_SHARED, file.value);
  if (data == MAP_FAILED)
    fail(ErrorCode::io, "{}: cannot map {} bytes: {}", path, size, std::strerror(errno));
  data_ = static_cast<const std::byte*>(data);
  size_ = size;
  descriptor_ = std::exchange(file.value, -1);
  watch_ = std::make_unique<LostPages>(data_, size_, path_);
}

void MappedFile::require_whole() const {
  if (descriptor_ < 0 || owned_) return;
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
  OwnMemory memory(size, path);
  read_bytes(file.value, path, static_cast<std::byte*>(memory.data), 0, size);
  mprotect(memory.data, size, PROT_READ);  // against our own mistakes: nothing depends on it
  MappedFile result;
  result.path_ = path;
  result.data_ = static_cast<const std::byte*>(std::exchange(memory.data, MAP_FAILED));
  result.size_ = size;
  return result;
}

void MappedFile::own(ThreadPool& pool) const {
  if (descriptor_ < 0 || owned_) return;
  OwnMemory memory(size_, path_);
  constexpr size_t kPiece = 8 * kHugePage;
  std::mutex mutex;  // of the first error
  std::exception_ptr error;
  run_interruptible(pool, (size_ + kPiece - 1) / kPiece, [&](size_t, size_t piece) {
    try {
      read_bytes(descriptor_, path_, static_cast<std::byte*>(memory.data), piece * kPiece,
                 std::min(size_, (piece + 1) * kPiece));
    } catch (const Error&) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
    }
  });
  if (error) std::rethrow_exception(error);
  mprotect(memory.data, size_, PROT_READ);
  // With its huge pages as they are: both begin where one may.
  void* const place = const_cast<std::byte*>(data_);
  if (mremap(memory.data, size_, size_, MREMAP_MAYMOVE | MREMAP_FIXED, place) == MAP_FAILED) {
    const int reason = errno;
    // It may have taken the mapping away before it failed.
    mmap(place, size_, PROT_READ, MAP_SHARED | MAP_FIXED, descriptor_, 0);
    fail(ErrorCode::out_of_memory, "{}: cannot put {} bytes in the mapping's place: {}", path_, size_,
         std::strerror(reason));
  }
  memory.data = MAP_FAILED;
  owned_ = true;
}

MappedFile::~MappedFile() {
  release();
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      path_(std::exchange(other.path_, {})),
      descriptor_(std::exchange(other.descriptor_, -1)),
      owned_(other.owned_.load()),
      watch_(std::move(other.watch_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this != &other) {
    release();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    path_ = std::exchange(other.path_, {});
    descriptor_ = std::exchange(other.descriptor_, -1);
    owned_ = other.owned_.load();
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
