#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backends/cuda/pages.hpp"
#include "engine/engine.hpp"

namespace cairn::cuda {

// A sequence's pages by position. Where all layers have windows, pages further back than the widest window
// and kRollBack positions are let go of.
class DeviceSequence final : public engine::Sequence {
 public:
  static constexpr uint32_t kRollBack = 512;  // how far truncate() goes back whatever the windows

  DeviceSequence(std::shared_ptr<const PageLayout> layout, std::shared_ptr<PagePool> pool);
  uint32_t length() const override { return length_; }
  uint32_t truncate(uint32_t length) override;
  std::unique_ptr<engine::Sequence> fork() const override;
  uint64_t bytes() const override { return (pages_.size() - gone_) * pool_->page_bytes(); }

  // For the engine, as cpu::PagedSequence has them.
  void extend(uint32_t tokens);
  void commit(uint32_t tokens);
  void trim();
  // Numbers of the pages of positions [0, end); those let go of have any.
  void table(uint32_t end, std::vector<uint32_t>& to) const;
  const PagePool* pool() const { return pool_.get(); }

 private:
  DeviceSequence(const DeviceSequence& other) = default;
  void keep(uint32_t positions);

  std::shared_ptr<const PageLayout> layout_;
  std::shared_ptr<PagePool> pool_;
  std::vector<Page> pages_{};  // null: let go of
  uint32_t gone_ = 0;          // pages
  uint32_t length_ = 0;
};

}  // namespace cairn::cuda
