#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backends/cpu/executor.hpp"
#include "base/thread_pool.hpp"
#include "offload/weights.hpp"
#include "quantize/scheme.hpp"

namespace cairn::offload {

// The products that read one linear input of one layer, with what their treatment needs.
struct Product {
  const cpu::Step& step;
  const quantize::Treatment& treatment;
  const quantize::Rotation* rotation;
  std::vector<LinearWeights> linears;
  ShadowColumns shadow;
  std::vector<std::pair<uint32_t, std::unique_ptr<AcceleratorGraph>>> graphs;  // by tokens

  graph::Slot input() const { return step.ops.front().op.input; }
  uint64_t int8_bytes() const {
    uint64_t total = 0;
    for (const LinearWeights& linear : linears)
      total += uint64_t{linear.rows()} * (linear.k() + sizeof(float));
    return total;
  }
  bool has_shadow() const {
    return treatment.outliers != quantize::Outliers::clamp && !treatment.float_product;
  }
};

// One chunk in flight: its activations on the CPU and its input for the device.
class ChunkRun {
 public:
  ChunkRun(const cpu::Machine& machine, const kernels::StaticKernels& kernels, uint32_t most_tokens);

  cpu::ChunkExecutor& executor() { return executor_; }
  const cpu::ChunkExecutor& executor() const { return executor_; }

  // For a product whose input is about to be there: room, and what an earlier one has set aside is forgotten.
  // rows: of a device that takes rows, so many; 0: it takes tiles.
  void begin_prepare(const Product& product, uint32_t rows);
  // Quantises a tile of the product's input into values(), and sets aside what shadow execution will add.
  // thread: below the machine's pool's.
  void prepare(const Product& product, size_t thread, size_t index);
  // In tiles (kernels/static_int8.hpp), or int8 [rows][k].
  const void* values() const {
    if (rows_ > 0) return row_values_.data();
    return values_.data();
  }
  // Where the device writes linear i's result.
  float* output(const Product& product, size_t i) const {
    return executor_.tile(product.linears[i].output(), 0);
  }
  // Scales a tile of the device's result by its tokens' scales, adds biases.
  void finish(const Product& product, size_t index);
  // The product of what prepare() set aside; may run while the device works.
  ShadowColumns::Counts run_shadow(const Product& product, ThreadPool& pool);
  // Adds it to the device's result.
  void merge(const Product& product, ThreadPool& pool);

  uint64_t outliers() const;  // elements set aside by the last prepare()
  uint64_t shadow_bytes() const;
  uint64_t own_bytes() const;  // at most, beside the executor's and shadow execution's

 private:
  struct TileOutliers {
    std::vector<uint32_t> channels;  // ascending
    std::vector<float> x;            // [channels][tile_tokens], zero where there is none
    uint64_t elements = 0;
  };
  void prepare_tile(const Product& product, size_t index, float* x, float* mixing);
  void set_aside(const quantize::Treatment& treatment, size_t k, size_t index, float* x, const float* scales);

  const kernels::StaticKernels& kernels_;
  cpu::ChunkExecutor executor_;
  std::vector<uint8_t> values_;
  uint32_t rows_ = 0;  // of the input that was prepared last
  std::vector<int8_t> row_values_;
  std::vector<float> scales_;  // [tile][tile_tokens]
  std::vector<TileOutliers> outliers_;
  std::vector<float> shadow_;                // [tile][rows of all linears][tile_tokens]
  std::vector<std::vector<float>> scratch_;  // a thread's transformed tile, and what a rotation works in
  std::vector<std::vector<const float*>> columns_;  // a thread's choice of a slice
};

}  // namespace cairn::offload
