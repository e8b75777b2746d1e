// device: where a model's op lists run.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/thread_use.hpp"
#include "formats/gguf.hpp"
#include "graph/graph.hpp"

namespace cairn::device {

enum class Precision : uint8_t { standard, f32 };  // standard: int8 activations; f32: all products in float
enum class KvType : uint8_t { f16, i8 };

// Sees the inputs of a layer's linear products in a prefill: rows [tokens][width] of `slot`, for calibration.
using InputObserver =
    std::function<void(uint32_t layer, graph::Slot slot, const float* rows, size_t tokens, size_t width)>;

struct RunnerOptions {
  uint32_t context = 4096;  // positions in the KV cache
  uint32_t threads = 0;     // 0: usable_processors()
  uint32_t chunk = 512;     // most tokens in one pass; longer inputs are cut by the caller
  Precision precision = Precision::standard;
  KvType kv = KvType::f16;  // f16 means f32 with Precision::f32
  // A stack: most bytes of resident memory that this process shall have (Runner::set_memory); 0: no limit.
  uint64_t memory = 0;
  bool memory_auto = false;  // a stack: as much as the system has to spare, all the time
  // Gets one line when `memory` or `memory_auto` ask what a model that is no stack cannot do.
  std::function<void(const std::string&)> warn{};
  InputObserver observer{};  // called by one thread, before each product; empty: nobody looks
};

// What a stack's runner holds. All in bytes.
struct MemoryStatus {
  uint64_t budget = 0;                  // for the process; 0: no limit
  uint64_t process = 0;                 // resident, everything
  uint64_t stack = 0, stack_all = 0;    // blocks in memory; of the whole stack
  uint64_t read = 0;                    // of blocks, from the file so far
  double bits = 0;                      // a weight of the stack's matrices, in memory
  std::vector<std::string> problems{};  // a line for each block that is left out
};

enum class Logits : uint8_t { none, last, all };

// A model with its KV cache on one device. Not thread-safe.
class Runner {
 public:
  virtual ~Runner() = default;
  virtual const graph::Model& model() const = 0;
  virtual uint32_t context() const = 0;
  virtual uint32_t chunk() const = 0;
  // Runs tokens (1 … chunk()) at positions [position, position + size); position ≤ length(). Cached positions
  // from `position` on are forgotten first. logits: none → ignored; last → [vocabulary]; all → [tokens,
  // vocabulary]. Errors: invalid_argument (beyond the context, token id outside the vocabulary); cancelled
  // (set_cancelled).
  virtual void forward(std::span<const int32_t> tokens, uint32_t position, Logits wanted, float* logits) = 0;
  virtual uint32_t length() const = 0;  // positions in the cache
  virtual uint64_t kv_bytes() const = 0;
  virtual uint64_t scratch_bytes() const = 0;
  virtual ThreadUse thread_use() const { return {}; }  // of all passes so far

  // A stack's weights grow and shrink: so that the process's resident memory stays within `bytes` (0: no
  // limit), KV cache and scratch included. From any thread at any time, in the middle of a pass too. Errors:
  // unsupported (the model is no stack), invalid_argument (less than everything but the stack's blocks and
  // its base need; nothing changes then).
  virtual void set_memory(uint64_t bytes);
  virtual bool elastic() const { return false; }
  virtual MemoryStatus memory() const { return {}; }

  // Asked by forward() of several tokens between a layer's steps, on the caller's thread: true makes it throw
  // Error cancelled, and the cache then ends at `position`. Empty: nobody asks.
  void set_cancelled(std::function<bool()> cancelled) { cancelled_ = std::move(cancelled); }

 protected:
  void throw_if_cancelled() const;

 private:
  std::function<bool()> cancelled_;
};

// Tells options.warn when the options limit the memory of a model that is no stack.
void warn_of_fixed_memory(const gguf::File& file, const RunnerOptions& options);

// Throws forward()'s errors for tokens and a position that the runner cannot take.
void check_forward(const Runner& runner, std::span<const int32_t> tokens, uint32_t position);

// The file must outlive the runner (it shares ownership of the mapping).
std::unique_ptr<Runner> make_cpu_runner(const gguf::File& file, const RunnerOptions& options);

}  // namespace cairn::device
