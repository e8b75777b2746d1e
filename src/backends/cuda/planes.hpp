#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/cuda/device.hpp"
#include "backends/cuda/program.hpp"
#include "formats/gguf.hpp"
#include "formats/stack_file.hpp"
#include "quantize/scheme.hpp"

namespace cairn::cuda {

// A stack's blocks in a GPU's memory: a prefix of the file's, which grows and shrinks between steps. It is
// read from the file in slabs of neighbours, and given back by the slab.
class Planes {
 public:
  // Reads the layout. Errors: io, unsupported (a codec that is not `planes`).
  explicit Planes(const gguf::File& file);
  ~Planes();
  Planes(const Planes&) = delete;
  Planes& operator=(const Planes&) = delete;

  const stack::Layout& layout() const { return layout_; }
  uint64_t base_bytes() const { return bytes_of(layout_.base_blocks); }
  uint64_t all_bytes() const { return bytes_of(layout_.blocks.size()); }
  // Of what stays whatever the limit: descriptions of the matrices.
  uint64_t fixed_bytes() const { return fixed_bytes_; }

  // Puts what stays, and the base, there. Errors: out_of_memory, io, format (a base block whose checksum is
  // wrong).
  void open(const std::shared_ptr<Device>& device);
  const StackedMatrices& matrices() const { return stacked_; }

  // At most so many bytes of blocks from now on, no less than the base's.
  void set_limit(uint64_t bytes);
  uint64_t limit() const { return limit_; }
  // Gives back what is beyond the limit, and what `more` bytes beside it take; false: nothing more is there
  // to give. Between steps.
  bool shrink(uint64_t more = 0);
  // Reads a slab more, if the limit has room for one; false: it has none, the device has none, or all is
  // read.
  bool grow();
  // What drafts take from now on, as resident::Set has it.
  void set_draft(double bits);

  uint64_t bytes() const { return bytes_; }      // of blocks that are there
  uint64_t bytes_read() const { return read_; }  // from the file so far
  double bits() const { return layout_.bits(blocks_); }
  const std::vector<std::string>& problems() const { return problems_; }

  // Rows of a matrix, in the source's coordinates, as the blocks that are there have them: to
  // [rows][columns]. Error io.
  void read_rows(const std::string& name, std::span<const int32_t> rows, float* to) const;

 private:
  struct Slab {
    size_t end;  // block
    Memory memory;
  };
  // Where a group's levels lie: in the device's memory and in the file; null and SIZE_MAX: nowhere.
  struct Level {
    const std::byte* data = nullptr;
    size_t block = SIZE_MAX;
  };
  struct Group {
    std::array<Level, stack::kPlanes + 1> levels{};
    uint8_t planes = 0;  // from 1 on, that are there one after the other
    bool exact = false;
    uint8_t draft = 1;
  };
  struct Matrix {
    std::vector<Group> groups;
    std::vector<uint32_t> stored;  // the source's row i is stored row stored[i]
    uint64_t first_group = 0;      // among the descriptions
  };

  uint64_t bytes_of(size_t blocks) const { return layout_.end_of(blocks) - layout_.blocks_begin; }
  void make_matrices();
  bool read_slab(size_t end);  // false: the device has no memory
  void note(size_t block, const std::byte* data);
  void drop_slab();
  void count();     // what groups have of blocks [0, blocks_)
  void describe();  // to the device
  void read_row(const stack::Matrix& matrix, const Matrix& found, uint32_t row, float* to,
                const quantize::Rotation* rotation) const;
  void pread(std::span<std::byte> to, uint64_t offset) const;

  const gguf::File& file_;
  const std::string path_;
  const stack::Layout layout_;
  size_t present_blocks_;
  int descriptor_ = -1;
  std::vector<Matrix> matrices_;
  std::map<uint32_t, quantize::Rotation> rotations_;  // by width
  std::vector<bool> bad_;                             // blocks whose checksum is wrong
  uint64_t fixed_bytes_ = 0;

  std::shared_ptr<Device> device_{};
  Memory fixed_{};
  uint64_t groups_at_ = 0;  // in it
  StackedMatrices stacked_{};
  std::vector<CudaPlaneGroup> described_{};
  std::vector<Slab> slabs_{};
  size_t blocks_ = 0;  // that are there
  size_t draft_blocks_ = 0;
  uint64_t limit_ = 0, bytes_ = 0, read_ = 0;
  std::vector<std::string> problems_{};
};

}  // namespace cairn::cuda
