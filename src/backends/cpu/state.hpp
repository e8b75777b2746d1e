// States of recurrent layers, which cannot be cut at a position: pages of them, and checkpoints.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "backends/cpu/pages.hpp"
#include "graph/graph.hpp"

namespace cairn::cpu {

// What a short convolution keeps of a text: its last inputs.
struct ConvPart {
  uint32_t number;  // of all parts
  size_t at;        // floats from the page's begin
  size_t kept, channels;
};
// … and a gated delta rule or a selective scan: a matrix for each head.
struct DeltaPart {
  uint32_t number;
  size_t at;
  size_t heads, keys, columns;  // columns: padded, see kernels::kDeltaColumns
  size_t key_stride() const { return round_up(keys, 16); }
};

// One page holds the state of all layers. Few tokens at a time (rows) leave a part's state as it was before
// them, and write down beside it what they change it by: a journal, of which truncate() drops what was read
// in vain. The next rows take it into the state when they read it anyway. So a part has a position of its
// own, from which its journal goes on.
class StateLayout {
 public:
  static constexpr uint32_t kJournal = 8;  // tokens

  // Error out_of_memory: as PageLayout.
  explicit StateLayout(const graph::Model& model);

  bool empty() const { return parts_ == 0; }
  size_t bytes() const { return bytes_; }
  uint32_t parts() const { return parts_; }
  const ConvPart& conv(uint32_t layer) const { return conv_[layer]; }
  const DeltaPart& delta(uint32_t layer) const { return delta_[layer]; }
  // Of the layer that drafts: what the head multiplied for the last token, as a convolution keeps its inputs.
  const ConvPart& hidden() const { return hidden_; }

 private:
  uint32_t parts_ = 0;
  size_t bytes_ = 0;
  std::vector<ConvPart> conv_;
  std::vector<DeltaPart> delta_;
  ConvPart hidden_{};
};

// A page as its parts.
struct StateView {
  std::byte* page = nullptr;  // null: the state before any text

  // The position that the part's state is at; its journal goes on from there.
  uint32_t& position(uint32_t part) const { return reinterpret_cast<uint32_t*>(page)[part]; }
  float* floats(size_t at) const { return reinterpret_cast<float*>(page) + at; }

  float* window(const ConvPart& p) const { return floats(p.at); }  // [kept][channels]
  float* journal(const ConvPart& p) const {
    return floats(p.at + p.kept * p.channels);
  }  // [kJournal][channels]

  static size_t head_floats(const DeltaPart& p) {
    return p.keys * p.columns + StateLayout::kJournal * (p.key_stride() + p.columns) +
           round_up(StateLayout::kJournal, 16);
  }
  float* matrix(const DeltaPart& p, size_t head) const { return floats(p.at + head * head_floats(p)); }
  // The journal: [kJournal][key_stride], [kJournal][columns], [kJournal].
  float* keys(const DeltaPart& p, size_t head) const { return matrix(p, head) + p.keys * p.columns; }
  float* deltas(const DeltaPart& p, size_t head) const {
    return keys(p, head) + StateLayout::kJournal * p.key_stride();
  }
  float* decays(const DeltaPart& p, size_t head) const {
    return deltas(p, head) + StateLayout::kJournal * p.columns;
  }
};

// One sequence's. Copies share pages; a page that two have is copied before one of them writes to it.
class RecurrentState {
 public:
  // Checkpoints lie at multiples of so many positions; see thin().
  static constexpr uint32_t kStep = 64;

  RecurrentState(std::shared_ptr<const StateLayout> layout, std::shared_ptr<PagePool> pool, size_t step_bytes)
      : layout_(std::move(layout)), pool_(std::move(pool)), step_bytes_(step_bytes) {}

  // Bytes of the pages that so many more tokens behind `length` take. rows: as rows.
  uint64_t coming(uint32_t length, uint32_t tokens, bool rows) const;
  // Takes them. Error out_of_memory.
  void extend(uint32_t length, uint32_t tokens, bool rows);
  void commit(uint32_t length);  // they have been read: the state is at `length` now
  void trim();                   // gives back what was taken and not committed
  // The longest text of up to `length` tokens whose state is there.
  uint32_t reachable(uint32_t length) const;
  void truncate(uint32_t length);  // to one that is
  uint64_t bytes() const;          // of its pages

  const StateLayout& layout() const { return *layout_; }
  // What rows read and write; what a chunk reads.
  StateView now() const { return {now_.get()}; }
  // What a chunk writes: the state behind it, and, if there, the one at mark_position() within it.
  StateView next() const { return {next_.get()}; }
  StateView mark() const { return {mark_.get()}; }
  uint32_t mark_position() const { return mark_position_; }

 private:
  struct Checkpoint {
    uint32_t position;
    Page page;
  };
  bool goes_back(uint32_t length) const;  // whether now_ has the state at `length`
  void keep(uint32_t position, Page page);
  void thin();

  std::shared_ptr<const StateLayout> layout_;
  std::shared_ptr<PagePool> pool_;
  size_t step_bytes_;  // of keys and values of kStep positions
  Page now_{}, next_{}, mark_{};
  uint32_t mark_position_ = 0;
  std::vector<Checkpoint> checkpoints_{};  // ascending
};

}  // namespace cairn::cpu
