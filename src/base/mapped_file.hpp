#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/lost_pages.hpp"
#include "base/thread_pool.hpp"

namespace cairn {

// A file mapped read-only into memory; pages come in when they are touched.
class MappedFile {
 public:
  MappedFile() = default;
  // Throws Error: not_found, io (a directory, no permission), format (empty file).
  explicit MappedFile(const std::string& path);
  // The file's first `size` bytes in memory of our own: what happens to the file later does not reach them.
  // Errors as above; io also when the file is shorter.
  static MappedFile copy(const std::string& path, size_t size);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  const std::string& path() const noexcept { return path_; }
  // Error io when somebody has cut the file since it was opened, or it could not be read.
  void require_whole() const;
  // Whoever computes with the bytes and calls require_read() before the result is used may be given zeros for
  // what is gone; everybody else's program ends there (base/lost_pages.hpp). Counted.
  void tolerate_losses(bool on) const noexcept;
  void require_read() const;  // Error io when that has happened
  // Reads the bytes into memory of our own, on huge pages where the system has them, and puts that in the
  // mapping's place: who reads meanwhile goes on, and what happens to the file later reaches nobody. One call
  // at a time; a second one does nothing. Errors, after which all is as before: out_of_memory, cancelled, io
  // as copy().
  void own(ThreadPool& pool) const;

 private:
  void release() noexcept;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::string path_;
  int descriptor_ = -1;  // of a mapping
  mutable std::atomic<bool> owned_ = false;
  std::unique_ptr<LostPages> watch_;
};

}  // namespace cairn
