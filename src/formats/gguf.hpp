// formats: bytes in, validated views out.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/mapped_file.hpp"
#include "formats/encoding.hpp"

namespace cairn::gguf {

// A metadata value. Arrays hold elements of one kind; integers of all widths are widened to 64 bits.
// Strings are views into the mapped file.
using Value =
    std::variant<bool, int64_t, uint64_t, double, std::string_view, std::vector<bool>, std::vector<int64_t>,
                 std::vector<uint64_t>, std::vector<double>, std::vector<std::string_view>>;

struct Tensor {
  std::string_view name;
  Encoding encoding;
  // Dimensions, fastest-running first as GGUF stores them: shape[0] is the length of a row (K of a linear
  // layer), shape[1] the number of rows. 1 to 4 of them, each ≥ 1.
  std::vector<uint64_t> shape;
  std::span<const std::byte> data;  // exactly elements() encoded, inside the mapping
  uint64_t elements() const noexcept;
  uint64_t row_elements() const noexcept { return shape[0]; }
  uint64_t rows() const noexcept { return elements() / shape[0]; }
  uint64_t row_bytes() const;
};

// Where a stack's blocks lie in its file (formats/stack_file.hpp): all of them, whether there already or not.
struct StackRegion {
  uint64_t offset, bytes;
};
// A stack names its base's length before anything else, and keeps its blocks in one tensor.
constexpr std::string_view kStackBase = "cairn.stack.base_bytes", kStackBlocks = "cairn.stack.blocks";

// A GGUF model, version 2 or 3, little-endian, in one file or in split files
// ("name-00001-of-00003.gguf"; give the first). Everything is checked before it is handed out: lengths,
// offsets, products, counts, duplicate names. Errors name the file, the byte offset and the reason.
// Source: the GGUF specification in ggml's docs/gguf.md.
// Of a stack, everything but the blocks is read into memory: the file may shrink or vanish afterwards.
class File {
 public:
  explicit File(const std::string& path);

  // A tensor of an assembled file whose data lie elsewhere.
  struct Outside {
    std::string name;
    Encoding encoding;
    std::vector<uint64_t> shape;
    std::span<const std::byte> data;  // empty: the tensor of that name in `head`
  };
  // A model of which `head` holds the metadata and some of the tensors, and `others` the rest. `path` is what
  // errors name, `bytes` what one file of it all would take.
  static File assemble(std::string path, const File& head, std::vector<Outside> tensors,
                       std::vector<std::shared_ptr<const MappedFile>> others, uint64_t bytes);

  const std::string& path() const noexcept;
  uint32_t version() const noexcept;
  uint64_t file_bytes() const noexcept;  // all splits together
  void require_whole() const;            // see MappedFile
  void tolerate_losses(bool on) const noexcept;
  void require_read() const;
  void own(ThreadPool& pool) const;  // from any thread

  const std::map<std::string, Value, std::less<>>& metadata() const noexcept;
  // The first part's pairs in file order, each value as it stands in the file: its kind, then its bytes.
  const std::vector<std::pair<std::string_view, std::span<const std::byte>>>& raw_metadata() const noexcept;
  const std::vector<Tensor>& tensors() const noexcept;  // in file order; not the one of a stack's blocks
  const std::optional<StackRegion>& stack_region() const noexcept;

  const Value* find(std::string_view key) const noexcept;           // nullptr if absent
  const Tensor* find_tensor(std::string_view name) const noexcept;  // nullptr if absent
  const Tensor& tensor(std::string_view name) const;                // Error not_found names file and tensor

  // Typed look-ups. The first form throws Error format when the key is absent or of another kind; the second
  // returns `otherwise` when absent, and still throws when of another kind. Integers convert when they fit.
  std::string_view text(std::string_view key) const;
  std::string_view text(std::string_view key, std::string_view otherwise) const;
  uint64_t integer(std::string_view key) const;
  uint64_t integer(std::string_view key, uint64_t otherwise) const;
  double number(std::string_view key) const;
  double number(std::string_view key, double otherwise) const;
  bool boolean(std::string_view key, bool otherwise) const;
  // Empty when absent; Error format when of another kind. Numbers of any kind are accepted for numbers().
  std::vector<std::string_view> texts(std::string_view key) const;
  std::vector<int64_t> integers(std::string_view key) const;
  std::vector<double> numbers(std::string_view key) const;

 private:
  struct State;
  explicit File(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

}  // namespace cairn::gguf
