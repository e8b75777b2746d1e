#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/cuda/device.hpp"
#include "backends/cuda/pages.hpp"
#include "backends/cuda/weights.hpp"
#include "graph/graph.hpp"

namespace cairn::cuda {

// A matrix of a stack, as commands name it.
struct StackedMatrix {
  const CudaPlanes* planes = nullptr;  // in the device's memory
  uint32_t rows = 0, k = 0;
  // Of its input's rotation; null: none (block 0), or no mixing.
  const float *signs = nullptr, *mixing = nullptr;
  uint32_t block = 0;
};
using StackedMatrices = std::map<std::string, StackedMatrix>;

// What lists of commands differ in.
struct Shape {
  uint32_t rows = 0;       // tokens that go through the layers; 0: the head alone
  uint32_t slices = 0;     // most of them
  uint32_t longest = 0;    // as CudaCommand has it
  uint32_t head_rows = 0;  // of which the head makes logits or hidden states
  uint32_t enough = 0;     // logits of a row; 0: none
  bool take = false;       // the head's rows are those that Step::index names, else the first
  bool draft = false;
  auto operator<=>(const Shape&) const = default;
};

// Room in the device's memory for activations and for what changes from step to step, and the lists of
// commands that a model is.
class Program {
 public:
  static constexpr uint32_t kHeadRows = kCudaBatch;  // most rows that the head takes at once

  // rows: most of a list.
  Program(std::shared_ptr<Device> device, const graph::Model& model, const Weights& weights,
          const StackedMatrices& stacked, const PageLayout& layout, uint32_t rows, uint32_t context);

  // What a step's rows are. Goes to the device with upload().
  struct Step {
    std::vector<int32_t> tokens, positions;
    std::vector<int32_t> index;  // at most kHeadRows
    std::vector<CudaSlice> slices;
    std::vector<uint32_t> pages;
  };
  void upload(const Step& step);
  void upload_index(std::span<const int32_t> index);
  // Whether rows of the embedding are to be put into the first slot, [rows][embedding], by
  // upload_embedding().
  bool embeds() const { return embeds_; }
  void upload_embedding(std::span<const float> rows);

  // base: PagePool's.
  void run(const Shape& shape, std::byte* base);

  // Of head row `row` on: `count` logits each, vocabulary apart.
  void logits(uint32_t row, uint32_t rows, uint32_t count, float* to) const;
  // Of head rows [0, rows), stride() apart, in memory of the device's until the next call; null: it has none.
  const float* staged_logits(uint32_t rows) const;
  uint32_t logits_stride() const;
  void hidden(uint32_t row, uint32_t rows, float* to) const;

  uint64_t bytes() const { return memory_.bytes(); }
  static uint64_t bytes_needed(const graph::Model& model, const StackedMatrices& stacked, uint32_t rows,
                               uint32_t context);

 private:
  struct Place {
    uint64_t offset = 0;
    uint32_t stride = 0;  // floats; 0: the slot is not used
  };
  using Places = std::array<Place, static_cast<size_t>(graph::Slot::count)>;
  struct Layout {
    Places slots, head;  // head: of rows that were taken
    Place rotated;
    uint64_t tokens = 0, positions = 0, index = 0, slices = 0, pages = 0, bytes = 0;
  };
  struct List {
    std::vector<CudaCommand> commands;
    uint64_t key;
  };
  class Builder;

  static Layout lay_out(const graph::Model& model, const StackedMatrices& stacked, uint32_t rows,
                        uint32_t context);
  std::vector<CudaCommand> build(const Shape& shape, std::byte* base) const;
  const Place& head_place(graph::Slot slot) const;

  const std::shared_ptr<Device> device_;
  const graph::Model& model_;
  const Weights& weights_;
  const StackedMatrices& stacked_;
  const PageLayout& pages_;
  const Layout layout_;
  bool embeds_ = false;
  Memory memory_;
  CudaStep step_{};
  std::vector<std::byte> staged_{};
  bool taken_ = false;  // by the last list's head
  std::map<Shape, List> lists_{};
  uint64_t keys_ = 0;
};

}  // namespace cairn::cuda
