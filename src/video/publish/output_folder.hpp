#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/interrupt.hpp"

namespace cairn::video {

// A folder that appears under its name when it is whole: written beside it and renamed. Without keep() (an
// exception, a full disk, an interrupt) nothing is left behind and what was there stays.
class OutputFolder {
 public:
  // mark: a file that such folders hold. A folder that is there must be empty, or hold that and `replace` be
  // given. Errors: invalid_argument, io; each names `path`.
  OutputFolder(const std::string& path, const std::string& mark, bool replace);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  // name: relative, with folders that need not be there. Errors: io, naming path and name.
  void write(const std::string& name, std::span<const std::byte> bytes);
  void write(const std::string& name, std::string_view text) { write(name, std::as_bytes(std::span(text))); }
  // A place for a file of the work between, gone in the end.
  std::string scratch(const std::string& name) const;
  uint64_t bytes() const { return bytes_; }
  void keep();

 private:
  std::string path_, target_, part_;
  uint64_t bytes_ = 0;
  std::optional<BeforeForcedEnd> forced_;
};

}  // namespace cairn::video
