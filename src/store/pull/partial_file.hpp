#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace cairn {

// The file that a download grows: DESTINATION.pull.partial, beside it DESTINATION.pull.partial.from, which
// tells what address and which version of the file it came from. Held under a lock, so that two runs cannot
// mix.
class PartialFile {
 public:
  // Errors: io (unwritable folder, another run is at it).
  explicit PartialFile(const std::string& destination);
  ~PartialFile();
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  uint64_t size() const noexcept { return size_; }
  const std::string& path() const noexcept { return path_; }

  // The strong validator (an ETag or a date, RFC 9110 section 13.1.5) of what is here when it came from
  // `url`; empty when there is none.
  std::string validator(const std::string& url) const;
  void remember(const std::string& url, const std::string& validator);

  void append(std::span<const std::byte> bytes);  // Error io
  void restart();                                 // empties it
  void finish();                                  // syncs and renames it to the destination
  void discard() noexcept;                        // the last call

 private:
  [[noreturn]] void fail_with_errno(const std::string& path) const;

  std::string destination_, path_, note_path_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

}  // namespace cairn
