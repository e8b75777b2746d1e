// An engine on a GPU with the CPU behind it: the host keeps each sequence's tokens, so that the CPU can read
// them when the GPU is lost or has no room for them.
#include <algorithm>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "backends/cpu/engine.hpp"
#include "backends/cuda/device.hpp"
#include "backends/cuda/engine.hpp"

namespace cairn::cuda {
namespace {

using engine::Slice;

// A sequence of the GPU's engine, or of the CPU's: the one that is there.
class GuardedSequence final : public engine::Sequence {
 public:
  GuardedSequence(const void* of, std::unique_ptr<engine::Sequence> gpu)
      : owner(of), on_gpu(std::move(gpu)) {}

  uint32_t length() const override { return static_cast<uint32_t>(tokens.size()); }
  uint32_t truncate(uint32_t length) override {
    if (length > tokens.size()) {
      fail(ErrorCode::invalid_argument, "a sequence of {} tokens has no first {}", tokens.size(), length);
    }
    if (engine::Sequence* side = here()) length = side->truncate(std::min(length, side->length()));
    tokens.resize(length);
    return length;
  }
  std::unique_ptr<engine::Sequence> fork() const override {
    auto other = std::make_unique<GuardedSequence>(owner, on_gpu ? on_gpu->fork() : nullptr);
    if (on_cpu) other->on_cpu = on_cpu->fork();
    other->tokens = tokens;
    return other;
  }
  uint64_t bytes() const override {
    const uint64_t side = on_gpu ? on_gpu->bytes() : on_cpu ? on_cpu->bytes() : 0;
    return side + tokens.size() * sizeof(int32_t);
  }
  engine::Sequence* here() const { return on_gpu ? on_gpu.get() : on_cpu.get(); }

  const void* const owner;
  std::unique_ptr<engine::Sequence> on_gpu, on_cpu{};
  std::vector<int32_t> tokens{};  // that were read, wherever they were
};

class GuardedEngine final : public engine::Engine {
 public:
  GuardedEngine(const gguf::File& file, const engine::Options& options)
      : file_(file), options_(options), gpu_(make_device_engine(file, options)) {}

  const graph::Model& model() const override { return gpu_->model(); }
  uint32_t context() const override { return gpu_->context(); }
  uint32_t chunk() const override { return gpu_->chunk(); }
  uint32_t rows() const override { return gpu_->rows(); }
  uint64_t kv_bytes() const override { return sum(&engine::Engine::kv_bytes); }
  uint64_t spare_kv_bytes() const override { return sum(&engine::Engine::spare_kv_bytes); }
  uint64_t scratch_bytes() const override { return sum(&engine::Engine::scratch_bytes); }
  ThreadUse thread_use() const override {
    const std::lock_guard lock(state_);
    return cpu_ ? cpu_->thread_use() : ThreadUse{};
  }

  std::unique_ptr<engine::Sequence> make_sequence() override {
    const std::lock_guard lock(one_step_);
    return std::make_unique<GuardedSequence>(this, lost_ ? nullptr : gpu_->make_sequence());
  }

  void step(std::span<const Slice> slices, const engine::Cancelled& cancelled) override {
    const std::lock_guard lock(one_step_);
    engine::check_slices(*this, slices);
    run(slices, cancelled,
        [&](engine::Engine& side, std::span<const Slice> part) { side.step(part, cancelled); });
  }

  void draft(std::span<const Slice> slices, double bits, const engine::Cancelled& cancelled) override {
    const std::lock_guard lock(one_step_);
    engine::check_slices(*this, slices);
    run(slices, cancelled,
        [&](engine::Engine& side, std::span<const Slice> part) { side.draft(part, bits, cancelled); });
  }

  void reserve(engine::Sequence& sequence, uint32_t tokens) override {
    const std::lock_guard lock(one_step_);
    GuardedSequence& found = own(sequence);
    if (found.on_gpu && !lost_) {
      try {
        return gpu_->reserve(*found.on_gpu, tokens);
      } catch (const Error& error) {
        // Who waits until others have given their pages back gets some then.
        if (error.code() == ErrorCode::out_of_memory && gpu_->kv_bytes() > found.on_gpu->bytes()) throw;
        give_way(error, found);
      }
    }
    bring_to_cpu(found, {});
    cpu_->reserve(*found.on_cpu, tokens);
  }

  const engine::Engine& on_gpu() const { return *gpu_; }

  bool elastic() const override { return gpu_->elastic(); }
  void set_memory(uint64_t bytes) override { gpu_->set_memory(bytes); }
  void set_memory_auto() override { gpu_->set_memory_auto(); }
  engine::MemoryStatus memory() const override { return gpu_->memory(); }

 private:
  GuardedSequence& own(engine::Sequence& sequence) const {
    auto* found = dynamic_cast<GuardedSequence*>(&sequence);
    if (found == nullptr || found->owner != this) {
      fail(ErrorCode::invalid_argument, "a sequence belongs to the engine that made it, not to that of {}",
           file_.path());
    }
    return *found;
  }

  // The CPU reads what the sequence has.
  void bring_to_cpu(GuardedSequence& sequence, const engine::Cancelled& cancelled) {
    sequence.on_gpu.reset();
    if (!cpu_) {
      engine::Options options = options_;
      options.device = "cpu";
      options.chunk = gpu_->chunk();  // slices are as long
      std::unique_ptr<engine::Engine> made = cpu::make_engine(file_, options);
      const std::lock_guard lock(state_);
      cpu_ = std::move(made);
    }
    if (!sequence.on_cpu) sequence.on_cpu = cpu_->make_sequence();
    while (sequence.on_cpu->length() < sequence.length()) {
      const std::span<const int32_t> left = std::span(sequence.tokens).subspan(sequence.on_cpu->length());
      cpu_->step({sequence.on_cpu.get(), left.first(std::min<size_t>(left.size(), cpu_->chunk()))},
                 cancelled);
    }
  }

  void tell(const std::string& line) {
    if (!std::exchange(told_, true) && options_.warn) options_.warn(line);
  }

  uint64_t sum(uint64_t (engine::Engine::*bytes)() const) const {
    const std::lock_guard lock(state_);
    return ((*gpu_).*bytes)() + (cpu_ ? ((*cpu_).*bytes)() : 0);
  }

  // Calls side(engine, slices) for those of the GPU and for those of the CPU. What the GPU cannot do, the CPU
  // does.
  template <class Side>
  void run(std::span<const Slice> slices, const engine::Cancelled& cancelled, const Side& side) {
    for (const Slice& slice : slices) own(*slice.sequence);
    try {
      run_gpu(slices, side);
      std::vector<Slice> rest;
      for (const Slice& slice : slices) {
        GuardedSequence& sequence = own(*slice.sequence);
        if (sequence.on_gpu && !lost_) continue;
        bring_to_cpu(sequence, cancelled);
        rest.push_back(slice);
        rest.back().sequence = sequence.on_cpu.get();
      }
      if (!rest.empty()) side(*cpu_, rest);
      for (const Slice& slice : slices) {
        std::vector<int32_t>& tokens = own(*slice.sequence).tokens;
        tokens.insert(tokens.end(), slice.tokens.begin(), slice.tokens.end());
      }
    } catch (...) {
      // The other side may have been done already.
      for (const Slice& slice : slices) {
        GuardedSequence& sequence = own(*slice.sequence);
        if (engine::Sequence* here = sequence.here(); here != nullptr && here->length() > sequence.length())
          sequence.truncate(sequence.length());
      }
      throw;
    }
  }

  template <class Side>
  void run_gpu(std::span<const Slice> slices, const Side& side) {
    while (true) {
      std::vector<Slice> part;
      std::vector<GuardedSequence*> sequences;
      for (const Slice& slice : slices) {
        GuardedSequence& sequence = own(*slice.sequence);
        if (!sequence.on_gpu || lost_) continue;
        sequences.push_back(&sequence);
        part.push_back(slice);
        part.back().sequence = sequence.on_gpu.get();
      }
      if (part.empty()) return;
      try {
        return side(*gpu_, part);
      } catch (const Error& error) {
        // The longest makes most room for the others.
        std::stable_sort(sequences.begin(), sequences.end(),
                         [](const auto* a, const auto* b) { return a->length() > b->length(); });
        give_way(error, *sequences.front());
      }
    }
  }

  // Inside of a handler: the sequence leaves the GPU, or all do when it has failed; other errors go on.
  void give_way(const Error& error, GuardedSequence& sequence) {
    if (error.code() == ErrorCode::out_of_memory) {
      sequence.on_gpu.reset();
      return tell(fmt::format("{}: {}; the CPU goes on with what the GPU has no room for", file_.path(),
                              error.what()));
    }
    if (error.code() != ErrorCode::io) throw;
    lost_ = true;
    tell(fmt::format("{}: {}; the CPU goes on", file_.path(), error.what()));
  }

  const gguf::File file_;
  const engine::Options options_;
  const std::unique_ptr<engine::Engine> gpu_;
  std::mutex one_step_;
  mutable std::mutex state_;               // of cpu_, which is set once
  std::unique_ptr<engine::Engine> cpu_{};  // null: nothing has gone there
  bool lost_ = false;                      // the GPU has failed
  bool told_ = false;
};

}  // namespace

const engine::Engine& behind_guard(const engine::Engine& engine) {
  const auto* guarded = dynamic_cast<const GuardedEngine*>(&engine);
  return guarded == nullptr ? engine : guarded->on_gpu();
}

std::unique_ptr<engine::Engine> make_engine(const gguf::File& file, const engine::Options& options) {
  return std::make_unique<GuardedEngine>(file, options);
}

}  // namespace cairn::cuda
