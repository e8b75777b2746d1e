// resident: how much of a stack is in memory. A prefix of its blocks lies in memory of our own; it grows and
// shrinks while tokens flow.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/system_pages.hpp"
#include "formats/stack_file.hpp"
#include "kernels/planes.hpp"

namespace cairn::resident {

// Rows of a matrix that move between levels together.
struct Group {
  const std::byte* blocks[stack::kPlanes + 1] = {};  // of level i + 1; valid up to `level`
  uint8_t level = 0;                                 // in use: that of `planes`, or the exact rows'
  uint8_t planes = 0;                                // from 1 on: the planes that are there
  uint8_t draft = 1;                                 // from 1 on: what a draft takes of them
};

struct Matrix {
  const stack::Matrix* layout = nullptr;
  std::vector<Group> groups;
  std::vector<uint32_t> stored;       // the source's row i is stored row stored[i]
  std::vector<uint32_t> destination;  // stored row i is the source's row destination[i]; UINT32_MAX beyond
                                      // the last row, up to whole tiles

  // A group's bit planes as the kernels take them. draft: no more than a draft takes.
  kernels::PlaneRows planes(uint32_t group, bool draft = false) const;
};

struct Status {
  uint64_t resident_bytes = 0;  // of blocks, whole pages
  uint64_t limit_bytes = 0;     // what was asked for
  uint64_t base_bytes = 0;      // what cannot be given back: the base's blocks
  uint64_t block_bytes = 0;     // of all blocks
  size_t blocks = 0, all_blocks = 0;
  double bits = 0;                    // a weight
  uint64_t bytes_read = 0;            // from the file since it was opened
  std::vector<std::string> problems;  // one line for each block left out, and why reading stopped
};

// The blocks of one stack in memory. One thread computes with them, inside of passes; every other call may
// come from any thread at any time. Threads of its own read ahead and give memory back.
class Set {
 public:
  // Reads the base's blocks. Errors: io, format (a base block whose checksum is wrong: there is no model
  // without it), unsupported (a codec that is not `planes`), out_of_memory (of addresses or of threads).
  explicit Set(const gguf::File& file);
  ~Set();
  Set(const Set&) = delete;
  Set& operator=(const Set&) = delete;

  const stack::Layout& layout() const noexcept { return layout_; }
  const Matrix* find(std::string_view name) const noexcept;  // null: not among the stack's matrices
  const kernels::PlaneTable& table(uint32_t level) const noexcept { return tables_[level - 1]; }

  // Between the two, groups keep their levels but in boundary().
  void begin_pass();
  void end_pass();
  // What drafts take from now on: of each group what the file's first blocks of so many bits a weight hold,
  // at least the base. Inside of a pass.
  void set_draft(double bits);
  // Between two steps of a pass, when nobody reads weights: takes over what was read ahead, and lets go what
  // is to be given back. Costs one load when there is nothing to do.
  void boundary() {
    if (pending_.load(std::memory_order_relaxed)) apply();
  }

  // At most so many bytes of blocks (no less than the base's). Blocks beyond are out of use at the next
  // boundary and given back to the system right after; blocks up to it are read ahead, those of a file that
  // is still growing as they arrive.
  void set_limit(uint64_t bytes);
  // Waits until the blocks within the limit are read, or reading has failed; false: not within `most`.
  bool wait_until_read(std::chrono::milliseconds most = std::chrono::hours(24));
  // Waits until no memory beyond the limit is held, or the system has refused to take it back. Not inside of
  // a pass.
  void wait_until_released();

  // A block's bytes from the file, whether it is in memory or not. From any thread. Errors: as
  // stack::read_block.
  void read_block(size_t block, std::span<std::byte> out) const {
    stack::read_block(file_, path_, layout_, block, out);
  }
  // The file's first blocks of so many bits a weight, at least the base, as far as they were there when it
  // was opened; and the bytes that so many blocks take in memory.
  size_t blocks_of(double bits) const;
  uint64_t bytes_of(size_t blocks) const noexcept { return layout_.end_of(blocks) - layout_.blocks_begin; }

  uint64_t resident_bytes() const noexcept { return held_.load(std::memory_order_relaxed); }
  uint64_t base_bytes() const noexcept { return bytes_of(layout_.base_blocks); }
  uint64_t block_bytes() const noexcept { return bytes_of(layout_.blocks.size()); }  // of all
  Status status() const;

 private:
  enum class State : uint8_t { absent, good, bad };

  void open_file();
  void read_base();
  void make_matrices();
  void release() noexcept;  // the threads, the arena, the file
  void apply();             // with pass_ held
  void raise(size_t block);
  void lower(size_t block);
  void read_ahead();
  void give_back();
  void aim();           // with state_ held
  void look_at_file();  // with state_ held
  // What one reading brought: blocks [first, whole) are there, up to `last` were asked for.
  struct Chunk {
    size_t first = 0, last = 0, whole = 0;
    uint64_t at = 0, end = 0;  // where it stopped in the file; in the arena, whole pages
    std::vector<size_t> bad;   // their checksum is wrong
    std::string reason;        // why it stopped early
  };
  Chunk read(size_t first, size_t end);
  void take_over(Chunk chunk);  // with state_ held
  // Gives whole pages of the arena back; 0, or the system's reason why they stay.
  int drop(uint64_t begin, uint64_t end) const;
  void note_refusal(int reason);  // with state_ held
  void advise(uint64_t end);
  uint64_t page_of(uint64_t byte) const { return page_down(byte, page_); }
  uint64_t pages(uint64_t bytes) const { return page_up(bytes, page_); }  // rounded up to whole ones
  std::byte* at(size_t block) const;
  std::string name_of(size_t block) const;

  std::string path_;
  const uint64_t page_;  // bytes of one of the system's
  stack::Layout layout_;
  std::vector<Matrix> matrices_;
  std::map<std::string, size_t, std::less<>> names_;
  kernels::PlaneTable tables_[kernels::kMostPlanes];
  int file_ = -1;
  std::byte* arena_ = nullptr;  // mirrors the file from blocks_begin on
  uint64_t arena_bytes_ = 0;
  uint64_t advised_ = 0;  // up to where huge pages were asked for; the reader's

  std::mutex pass_;                   // whoever holds it may change levels
  double draft_bits_ = 0;             // as Group::draft has it; 0: never set
  size_t published_ = 0;              // blocks in use; changes with pass_ and state_ held
  std::atomic<bool> pending_{false};  // something for apply() to do
  std::atomic<bool> in_pass_{false};
  std::atomic<bool> limited_{false};
  std::atomic<uint64_t> held_{0};  // bytes of the arena that are in memory
  std::atomic<uint64_t> bytes_read_{0};

  mutable std::mutex state_;  // of what follows
  std::condition_variable changed_;
  std::vector<State> states_;  // of each block
  size_t read_ = 0;            // blocks [0, read_) have been read
  size_t target_ = 0;          // blocks that shall be in memory
  uint64_t limit_ = 0;
  uint64_t present_bytes_ = 0;     // of the file, as last seen
  std::optional<size_t> reading_;  // from this block on
  bool releasing_ = false;
  bool failed_ = false;   // reading stopped; the next set_limit tries again
  bool refused_ = false;  // the system did not take back what is beyond the target
  bool leaving_ = false;
  std::vector<std::string> problems_;
  std::thread reader_, releaser_;
};

// A pass for as long as it lives.
class Pass {
 public:
  explicit Pass(Set* set) : set_(set) {
    if (set_ != nullptr) set_->begin_pass();
  }
  ~Pass() {
    if (set_ != nullptr) set_->end_pass();
  }
  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;

 private:
  Set* set_;
};

}  // namespace cairn::resident
