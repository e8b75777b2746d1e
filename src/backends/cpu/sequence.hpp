#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/cpu/pages.hpp"
#include "backends/cpu/state.hpp"
#include "engine/engine.hpp"

namespace cairn::cpu {

// A sequence's pages, by layer and position. A layer with a window lets go of pages that lie further back
// than the window and kRollBack positions; one with a recurrent state has no pages.
class PagedSequence final : public engine::Sequence {
 public:
  static constexpr uint32_t kRollBack = 512;  // how far truncate() goes back whatever the windows

  // most_rows: slices of so many tokens or fewer are rows.
  PagedSequence(std::shared_ptr<const PageLayout> layout, std::shared_ptr<PagePool> pool,
                RecurrentState state, uint32_t most_rows);
  uint32_t length() const override { return length_; }
  uint32_t truncate(uint32_t length) override;
  std::unique_ptr<engine::Sequence> fork() const override;
  uint64_t bytes() const override;
  bool read_block(uint32_t index, std::span<std::byte> to) const override;  // a page a layer

  // For engines. Bytes of the pages that so many more positions take, those among them that are shared now.
  uint64_t coming(uint32_t tokens) const;
  // Takes them: positions [length, length + tokens) may be written.
  void extend(uint32_t tokens);
  // They have been written, and count.
  void commit(uint32_t tokens);
  // One more page a layer, as read_block wrote them; extend(kPagePositions) has taken them.
  void write_block(std::span<const std::byte> from);
  // Gives back the pages of positions that were never committed.
  void trim();

  const RecurrentState& state() const { return state_; }
  // Tokens that were guessed behind the text by the layer that drafts, and what it made of the last one,
  // [embedding]. Forgotten by whatever changes the sequence.
  uint32_t guesses() const { return guesses_; }
  std::vector<float>& guessed() { return guessed_; }
  void guess() { ++guesses_; }

  kernels::KvRows keys(uint32_t layer, uint32_t head) const { return rows(layer, 2 * head); }
  kernels::KvRows values(uint32_t layer, uint32_t head) const { return rows(layer, 2 * head + 1); }
  struct Place {
    void* row;  // of the position asked for; the next position's row follows within the page
    void* scales;
    kernels::KvFormat format;
  };
  Place key(uint32_t layer, uint32_t head, uint32_t position) const {
    return place(layer, 2 * head, position);
  }
  Place value(uint32_t layer, uint32_t head, uint32_t position) const {
    return place(layer, 2 * head + 1, position);
  }

 private:
  PagedSequence(const PagedSequence& other) = default;
  kernels::KvRows rows(uint32_t layer, uint32_t index) const;
  Place place(uint32_t layer, uint32_t index, uint32_t position) const;
  void put(uint32_t layer, size_t at, Page page);
  void keep(uint32_t positions);  // pages of the first so many
  uint32_t first_written(uint32_t layer) const { return length_ - std::min(length_, layout_->lag(layer)); }

  std::shared_ptr<const PageLayout> layout_;
  std::shared_ptr<PagePool> pool_;
  std::vector<std::vector<Page>> pages_;  // [layer][position / kPagePositions], null: let go of
  std::vector<std::vector<const std::byte*>> tables_{};  // the same, as kernels take them
  std::vector<uint32_t> gone_;                           // [layer]: pages let go of
  RecurrentState state_;
  uint32_t most_rows_;
  uint32_t length_ = 0, guesses_ = 0;
  std::vector<float> guessed_{};

  friend class Sequences;
};

// All sequences of one engine.
class Sequences {
 public:
  // owner: the model's file, for messages. spare: see PagePool. most_rows: see PagedSequence. Errors as
  // PageLayout and StateLayout.
  Sequences(const graph::Model& model, kernels::KvFormat format, std::string owner, size_t spare,
            uint32_t most_rows);

  kernels::KvFormat format() const { return layout_->format(); }
  // Of pages in use, and as PagePool has them; states' among them.
  uint64_t bytes() const { return pool_->bytes() + (states_ ? states_->bytes() : 0); }
  uint64_t spare_bytes() const { return pool_->spare_bytes() + (states_ ? states_->spare_bytes() : 0); }
  bool has_state() const { return states_ != nullptr; }
  std::unique_ptr<engine::Sequence> make() const;
  PagedSequence& own(engine::Sequence& sequence) const;  // Error invalid_argument: another engine's
  // Bytes of the pages that the slices take.
  uint64_t coming(std::span<const engine::Slice> slices) const;
  size_t block_bytes() const { return layout_->attending() * layout_->bytes(); }
  // Error invalid_argument: the sequence or the block is not of whole pages, or beyond the context.
  void check_block(engine::Sequence& sequence, size_t bytes, uint32_t context) const;
  // The pages for so many more tokens, or none of them. Error out_of_memory.
  void extend(engine::Sequence& sequence, uint32_t tokens) const;
  // Calls body(), which extends the slices' sequences and runs them, and counts their tokens then; if
  // anything is thrown, all are as they were. Errors: as check_slices and own, and what body throws.
  template <class Body>
  void step(const engine::Engine& engine, std::span<const engine::Slice> slices, const Body& body) const {
    engine::check_slices(engine, slices);
    for (const engine::Slice& slice : slices) own(*slice.sequence);
    try {
      body();
    } catch (...) {
      for (const engine::Slice& slice : slices) own(*slice.sequence).trim();
      throw;
    }
    for (const engine::Slice& slice : slices)
      own(*slice.sequence).commit(static_cast<uint32_t>(slice.tokens.size()));
  }

 private:
  std::shared_ptr<const PageLayout> layout_;
  std::shared_ptr<PagePool> pool_;
  std::shared_ptr<const StateLayout> state_layout_;
  std::shared_ptr<PagePool> states_;  // null: the model has none
  uint32_t most_rows_;
  std::string owner_;
};

}  // namespace cairn::cpu
