// Keys and values in a GPU's memory, in pages.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "backends/cuda/device.hpp"
#include "graph/graph.hpp"

namespace cairn::cuda {

// Pages are numbered by what lies at multiples of so many bytes: 32 bits reach all that a GPU may have.
constexpr uint64_t kPageUnit = 64 << 10;

// What a page holds: kCudaPage positions of all layers that store keys and values, one layer behind the
// other, each as base/cuda_plugin.hpp has it. A step has one table of pages for all layers.
class PageLayout {
 public:
  explicit PageLayout(const graph::Model& model);

  uint64_t bytes() const { return bytes_; }  // whole units
  // Where a layer's part begins: one that reads another's keys and values has its place.
  uint64_t offset(uint32_t layer) const { return offsets_[layer]; }
  uint32_t window() const { return window_; }  // positions that any layer looks back at; 0: all

 private:
  std::vector<uint64_t> offsets_;
  uint64_t bytes_ = 0;
  uint32_t window_ = 0;
};

// A page's number, given back to its pool with the last who has it.
using Page = std::shared_ptr<const uint32_t>;

// Pages of one size, in slabs that are taken as they are needed. Pages are given back from any thread; all
// else is for the one that uses the device.
class PagePool : public std::enable_shared_from_this<PagePool> {
 public:
  PagePool(std::shared_ptr<Device> device, uint64_t page_bytes);
  // Called before a slab of so many bytes is taken, and again (failed) when the device has no memory for it:
  // whether to try once more. May throw.
  using MakeRoom = std::function<bool(uint64_t bytes, bool failed)>;
  void set_make_room(MakeRoom make_room) { make_room_ = std::move(make_room); }

  Page take();  // Error out_of_memory
  // From here on pages lie by their numbers times kPageUnit, which may wrap around; there is no page 0.
  std::byte* base() const;
  uint64_t page_bytes() const { return page_bytes_; }
  void copy(uint32_t from, uint32_t to) const;
  uint64_t used_bytes() const;  // of pages that somebody has
  uint64_t slab_bytes() const;  // of the device's memory
  void give_back_slabs();       // of which nobody has a page

 private:
  struct Slab {
    Memory memory;
    uint32_t first = 0, used = 0;
  };
  void put(uint32_t number) noexcept;
  void add_slab();
  Memory allocate() const;
  std::byte* place(uint32_t number) const;
  uint32_t units() const { return static_cast<uint32_t>(page_bytes_ / kPageUnit); }

  const std::shared_ptr<Device> device_;
  const uint64_t page_bytes_;
  const uint32_t slab_pages_;
  const uint64_t slab_bytes_;
  MakeRoom make_room_{};
  uint64_t origin_ = 0;  // where number kMiddle lies; 0: there is no slab yet
  mutable std::mutex mutex_;
  std::map<uint32_t, Slab> slabs_;  // by their first number
  std::vector<uint32_t> free_;
};

}  // namespace cairn::cuda
