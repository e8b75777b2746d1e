// What each task of a prompt's chunks does: products on the device, the rest on the CPU beside it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <shared_mutex>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/thread_pool.hpp"
#include "engine/engine.hpp"
#include "formats/gguf.hpp"
#include "offload/layer_plan.hpp"
#include "offload/tasks.hpp"
#include "offload/two_workers.hpp"

namespace cairn::offload {

// The device failed, not the model or the caller.
struct DeviceFailure : Error {
  using Error::Error;
};

class ChunkTasks {
 public:
  // Borrowed. machine: in float; npu, cpu: the threads beside the device's products, and of the CPU's own
  // tasks.
  struct Place {
    const gguf::File& file;
    const cpu::Machine& machine;
    const kernels::StaticKernels& kernels;
    const std::vector<LayerPlan>& layers;
    ThreadPool &npu, &cpu;
    const std::function<void(const std::string&)>& warn;  // of products that the device does not take
    resident::Set* set = nullptr;                         // of a stack
    // Called on the thread that drives the device, before each product; may throw to leave the prompt.
    std::function<void()> between{};
  };
  struct Prompt {
    cpu::PagedSequence& sequence;
    std::span<const int32_t> tokens;
    uint32_t position, length;  // of the first token; of a chunk, all but the last have it
  };
  // What shadow execution did so far.
  struct Shadowed {
    uint64_t elements = 0;
    ShadowColumns::Counts columns{};
  };

  explicit ChunkTasks(const Place& place) : place_(place) {}

  // Starts the chunks of a prompt. What they need of the device is compiled here: once for all prompts,
  // however long. Both are used until the next begin(). Errors: as Accelerator::compile; what `cancelled`
  // throws.
  void begin(const Prompt& prompt, Products& products, Accelerator& accelerator,
             const engine::Cancelled& cancelled);
  uint32_t chunks() const { return static_cast<uint32_t>(tokens_.size()); }
  size_t tokens(uint32_t chunk) const { return tokens_[chunk]; }
  TaskGraphShape shape() const;
  // Errors: DeviceFailure; io (the model's file was cut).
  void run(const Task& task);
  // After all of a chunk's tasks: what holds the last layer's results.
  cpu::ChunkExecutor& finish(uint32_t chunk);

  const Shadowed& shadowed() const { return shadowed_; }
  uint64_t shadow_bytes() const;  // of the chunks' compact tensors
  uint64_t scratch_bytes() const;
  // Bytes that so many tokens in chunks of `length` would touch for the first time.
  uint64_t coming(size_t tokens, const Accelerator& accelerator, uint32_t length);

 private:
  using Input = quantize::Input;

  Product& product(uint32_t layer, Input input) { return products_->at(layer, input); }
  void compile(const engine::Cancelled& cancelled);
  bool takes_rows() const { return accelerator_->traits().layout == ActivationLayout::rows; }
  uint32_t graph_tokens(uint32_t chunk) const;
  bool cut(uint32_t layer) {
    return product(layer, Input::gate_up).has_shadow() || product(layer, Input::down).has_shadow();
  }
  using Steps = std::span<const cpu::Step>;
  // The product on the device, and its results into tiles; multiply() leaves the latter to collect().
  void run_product(uint32_t chunk, uint32_t layer, Input input);
  void multiply(uint32_t chunk, uint32_t layer, Input input);
  void collect(uint32_t chunk, const Product& of, size_t index);
  void run_attention(uint32_t chunk, uint32_t layer);
  // The steps, and the input that they make as the product wants it; first what `collected` says of the tile
  // (null: nothing). A tile goes through all of it in one loop, where the steps are floats.
  void prepare(uint32_t chunk, Steps steps, uint32_t layer, Input input, ThreadPool& pool,
               const Product* collected = nullptr);
  void run_shadow(uint32_t chunk, uint32_t layer, Input input);
  void merge(uint32_t chunk, uint32_t layer, Input input);
  void take_length(uint32_t length);
  void move_weights();

  const Place place_;
  Products* products_ = nullptr;
  Accelerator* accelerator_ = nullptr;
  uint32_t length_ = 0;
  std::vector<size_t> tokens_;  // by chunk, of the prompt under way
  std::vector<std::unique_ptr<ChunkRun>> runs_;
  size_t used_ = 0;               // of them, so far
  std::vector<uint32_t> stored_;  // by chunk: layers whose keys are in the cache
  RowResults results_;
  Shadowed shadowed_;
  std::shared_mutex reading_;  // a stack's weights, which move when nobody does
};

}  // namespace cairn::offload
