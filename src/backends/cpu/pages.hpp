// Keys and values in pages.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/buffer.hpp"
#include "base/system_pages.hpp"
#include "graph/graph.hpp"
#include "kernels/vector.hpp"

namespace cairn::cpu {

// What a page holds: one layer's keys and values of kernels::kPagePositions positions, [key, value][kv
// head][position][head_size], in a format of kernels::KvFormat, the scales of those that have them behind
// them all. Keys of latent attention are the values too, and there once. Pages of all layers are of one size,
// the largest.
class PageLayout {
 public:
  // Error out_of_memory: a page of more bytes than there are addresses.
  PageLayout(const graph::Model& model, kernels::KvFormat format);

  kernels::KvFormat format() const { return format_; }
  // Rounding keys costs more than rounding values: q4 stands for keys of 5 bits and values of 4.
  kernels::KvFormat key_format() const {
    return format_ == kernels::KvFormat::q4 ? kernels::KvFormat::q5 : format_;
  }
  size_t bytes() const { return bytes_; }  // whole lines of the processor's cache
  uint32_t layers() const { return static_cast<uint32_t>(windows_.size()); }
  uint32_t window(uint32_t layer) const { return windows_[layer]; }  // positions; 0: all
  bool attends(uint32_t layer) const { return attends_[layer]; }     // else the layer has no pages
  // The layer that drafts, behind the model's own, is written one position late: it waits for the next token.
  uint32_t lag(uint32_t layer) const { return layer == draft_ ? 1 : 0; }
  uint32_t attending() const {
    return static_cast<uint32_t>(std::count(attends_.begin(), attends_.end(), true));
  }
  // Of a kv head: index 2 · head for keys, 2 · head + 1 for values.
  size_t row_bytes(uint32_t layer, uint32_t index) const {
    return is_key(layer, index) ? heads_[layer].key_bytes : heads_[layer].value_bytes;
  }
  kernels::KvFormat format(uint32_t layer, uint32_t index) const {
    return is_key(layer, index) ? key_format() : format_;
  }
  size_t scale_bytes(uint32_t layer) const { return heads_[layer].scale_bytes; }  // of a row
  // Where the rows begin, and their scales.
  size_t rows(uint32_t layer, uint32_t index) const {
    const Heads& of = heads_[layer];
    if (of.latent) index &= ~1U;
    return kernels::kPagePositions * ((index + 1) / 2 * of.key_bytes + index / 2 * of.value_bytes);
  }
  size_t scales(uint32_t layer, uint32_t index) const {
    if (heads_[layer].latent) index &= ~1U;
    return heads_[layer].scales + index * kernels::kPagePositions * heads_[layer].scale_bytes;
  }

 private:
  void add(size_t head_size, size_t kv_heads, bool latent, bool attends);  // a layer
  bool is_key(uint32_t layer, uint32_t index) const { return index % 2 == 0 || heads_[layer].latent; }

  kernels::KvFormat format_;
  std::vector<uint32_t> windows_;
  std::vector<bool> attends_;
  struct Heads {
    size_t key_bytes, value_bytes, scale_bytes, scales;  // of a row; where the first scales lie
    bool latent;                                         // no values
  };
  std::vector<Heads> heads_;  // of each layer
  size_t bytes_ = 0;          // of the largest layer's page
  uint32_t draft_ = UINT32_MAX;
};

// A page that gives itself back to its pool, which it keeps alive.
using Page = std::shared_ptr<std::byte>;

// Pages of one size. Each is in memory as long as it is in use, so that what is taken can be accounted for;
// of those given back, the first `spare` bytes stay there and are the next to be taken: the system would have
// to give others anew, zeroed, which is 5 % of a prefill. They lie one behind the other, because 4-bit pages
// are small: rounded up to the system's, they would be a third larger. From any thread.
class PagePool : public std::enable_shared_from_this<PagePool> {
 public:
  // system_page: bytes of one of the system's, which memory goes back in.
  explicit PagePool(size_t page_bytes, size_t spare = 0, size_t system_page = system_page_bytes());
  Page take();  // holds anything; Error out_of_memory
  uint64_t bytes() const noexcept { return used_ * page_bytes_; }
  uint64_t spare_bytes();  // of pages given back that stay

 private:
  void put(size_t number) noexcept;

  const size_t page_bytes_, slab_pages_, spare_;  // of a page; pages of a slab; pages that may stay
  const size_t system_page_;
  std::atomic<uint64_t> used_{0};  // pages
  std::mutex mutex_;               // of what follows
  std::vector<Buffer> slabs_;
  std::vector<bool> held_;  // in use or staying, by number: slab · slab_pages_ + which of it
  // Not in use, in memory and not; both have room for all that the slabs may put there.
  std::vector<size_t> staying_, free_;
};

}  // namespace cairn::cpu
