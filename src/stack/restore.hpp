#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/thread_pool.hpp"
#include "formats/gguf.hpp"
#include "formats/stack_file.hpp"

namespace cairn::stack {

// The blocks of an open stack, for whoever needs weights in float again.
class Reader {
 public:
  // Errors: as gguf::File and read_layout; io.
  explicit Reader(const std::string& path);
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  const gguf::File& file() const { return file_; }
  const Layout& layout() const { return layout_; }
  size_t present() const { return layout_.blocks_within(layout_.present_bytes); }  // whole blocks

  void read(size_t block, std::span<std::byte> out) const;  // checked; errors as read_block
  void check_padding(size_t block) const;  // what stands between it and the next is zero. Error format.
  // A matrix as its blocks among the first `count` of the file describe it, rows and columns of the source.
  std::vector<float> restore(uint32_t matrix, size_t count, ThreadPool& pool) const;

 private:
  std::vector<float> restore_planes(uint32_t matrix, size_t count, ThreadPool& pool) const;
  std::vector<float> restore_avd(uint32_t matrix, size_t count, ThreadPool& pool) const;

  gguf::File file_;
  Layout layout_;
  int descriptor_ = -1;
};

using RestoreProgress = std::function<void(uint64_t done, uint64_t total)>;
// Writes the first `count` blocks' model as an ordinary GGUF file with matrices in f16. Errors: as above.
void write_restored(const Reader& reader, size_t count, const std::string& path, ThreadPool& pool,
                    const RestoreProgress& progress = {});

// The first `count` blocks (at least the base's) as a stack of their own.
void write_prefix(const Reader& reader, size_t count, const std::string& path,
                  const RestoreProgress& progress = {});

}  // namespace cairn::stack
