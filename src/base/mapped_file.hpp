#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace cairn {

// A file mapped read-only into memory; pages come in when they are touched.
class MappedFile {
 public:
  MappedFile() = default;
  // Throws Error: not_found, io (a directory, no permission), format (empty file).
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  const std::string& path() const noexcept { return path_; }

 private:
  void release() noexcept;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::string path_;
};

}  // namespace cairn
