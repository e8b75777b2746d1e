#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "formats/encoding.hpp"

namespace cairn::gguf {

// A value as it stands in another file: its kind, then its bytes (File::raw_metadata).
struct RawValue {
  std::vector<std::byte> bytes;
};
// A metadata value to write, in the width in which it is written.
using WriterValue =
    std::variant<bool, uint32_t, int32_t, uint64_t, int64_t, float, double, std::string, std::vector<bool>,
                 std::vector<int32_t>, std::vector<float>, std::vector<std::string>, RawValue>;

// Writes a GGUF version 3 file: metadata and tensors are declared first, then write() streams the tensors'
// data, so that a file larger than memory can be made. Nothing stands under the file's name until it is
// whole.
class Writer {
 public:
  static constexpr uint64_t kAlignment = 32;

  // Error invalid_argument: an empty key, one set before, or general.alignment (it is always kAlignment).
  void set(std::string key, WriterValue value);
  // Shape: fastest-running dimension first. Error invalid_argument: an empty name, one added before, not 1 to
  // 4 dimensions, a dimension of 0, a row that is not a whole number of blocks, a size that overflows.
  void add_tensor(std::string name, Encoding encoding, std::vector<uint64_t> shape);

  uint64_t data_bytes() const noexcept { return data_bytes_; }  // all tensors, padding included

  uint64_t bytes() const;  // of the whole file

  using Sink = std::function<void(std::span<const std::byte>)>;
  // Called once for each tensor in the order of add_tensor; must hand exactly its bytes to the sink, in
  // pieces of any size (Error invalid_argument otherwise).
  using Fill = std::function<void(size_t tensor, const Sink& sink)>;
  // Error io names the path and the system's reason; whatever fails, no part of the file stays behind.
  void write(const std::string& path, const Fill& fill) const;
  // The same bytes, in pieces of any size, to wherever `out` puts them.
  void write(const Sink& out, const Fill& fill) const;

 private:
  void write_head(const Sink& sink) const;

  struct Entry {
    std::string name;
    Encoding encoding;
    std::vector<uint64_t> shape;
    uint64_t offset, bytes;
  };
  std::vector<std::pair<std::string, WriterValue>> metadata_;
  std::vector<Entry> tensors_;
  uint64_t data_bytes_ = 0;
};

}  // namespace cairn::gguf
