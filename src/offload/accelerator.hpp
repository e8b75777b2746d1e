// Matrix engines that are fast at static int8 products alone (NPUs, and what stands in for one): products of
// one shape are compiled once and shared by all chunks of all prompts.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace cairn {
class ThreadPool;
}

namespace cairn::offload {

// One int8 matrix: out[t][r] = scale[r] · Σ_k q[t][k] · values[r][k].
struct Int8Linear {
  std::string name;  // its tensor, for messages
  uint32_t rows = 0, k = 0;
  // Writes rows [begin, begin + count) as values [count][k] in [-127, 127] and their scales [count]; called
  // by any thread, while compiling or (devices that keep no copy of the weights) in every run.
  std::function<void(uint32_t begin, uint32_t count, int8_t* values, float* scales)> fill;

  // Of weights that move (a stack's, on devices whose traits say that they take them anew): `fill` gives what
  // is in memory at the time. The rows lie there in another order, in which they come at less cost: stored
  // row i is row order[i], UINT32_MAX: none. Empty: the weights stay as they are.
  std::span<const uint32_t> order{};  // a multiple of 16 of them
  // As fill, of stored rows; begin and count are multiples of 16.
  std::function<void(uint32_t begin, uint32_t count, int8_t* values, float* scales)> fill_stored{};
  bool moves() const { return !order.empty(); }
};

// Products that share one int8 input: q, k, v; the attention's output; gate and up; down.
struct Int8Graph {
  std::string name;     // "blk.3.qkv"
  uint64_t key = 0;     // hash of model, quantisation and tensors: what a cached blob is filed under
  uint32_t tokens = 0;  // the chunk's length
  std::vector<Int8Linear> linears;
};

// How activations pass: [tokens][k] int8, and [tokens][rows] float back; or in the CPU's tiles of tokens
// (kernels/static_int8.hpp): u8 = s8 + 128 in [k / 4][tile_tokens][4], and [tile][rows padded][tile_tokens]
// float.
enum class ActivationLayout : uint8_t { rows, tiles };

namespace simulated {
struct PhoneConstants;
}

// What an engine has to know of a device before it gives it work.
struct AcceleratorTraits {
  std::string name;   // as make_accelerator() takes it: "cpu", "openvino:NPU"
  std::string label;  // on timelines
  ActivationLayout layout = ActivationLayout::rows;
  // It computes on cairn's own processors, with threads that are not cairn's: taking turns, all threads for
  // each, is faster there than dividing them, and threads of ours that spin meanwhile cost both more than
  // half.
  bool shares_processors = false;
  // A chunk's length where none is asked for; 0: measured (profile_chunk).
  uint32_t usual_chunk = 0;
  // It takes weights anew in every run where they move (Int8Linear::order); otherwise a stack is compiled in,
  // at one size.
  bool takes_moving_weights = false;
  // It can round weights to 4 bits (AcceleratorOptions::weight_bits).
  bool rounds_weights = false;
  // How often int8 weights that are compiled in are in memory afterwards, in this process's and the device's.
  uint32_t weight_copies = 1;
  // Whose times timelines show in place of those that the device took; null: its own.
  const simulated::PhoneConstants* phone = nullptr;
};

// A device that takes the others does not take this product: the CPU has it.
struct ProductRefused : Error {
  using Error::Error;
};

class AcceleratorLayer;
struct LayerGraph;

class AcceleratorGraph {
 public:
  virtual ~AcceleratorGraph() = default;
  // values: the whole chunk's input. outputs[i]: linear i's result. Not thread-safe; different graphs of one
  // accelerator may not run at the same time either. Error io: the device failed (names device and graph).
  virtual void run(const void* values, std::span<float* const> outputs) = 0;
};

class Accelerator {
 public:
  Accelerator() = default;
  Accelerator(const Accelerator&) = delete;
  Accelerator& operator=(const Accelerator&) = delete;
  virtual ~Accelerator();
  virtual const AcceleratorTraits& traits() const = 0;
  // Errors: unsupported (a chunk length or shape that the device refuses, named; ProductRefused where others
  // may do), out_of_memory, io.
  virtual std::unique_ptr<AcceleratorGraph> compile(const Int8Graph& graph) = 0;
  // A whole layer (layer_graph.hpp). Errors as compile(); unsupported: the device takes products alone.
  virtual std::unique_ptr<AcceleratorLayer> compile_layer(const LayerGraph& layer);
  virtual uint64_t weight_bytes() const = 0;   // copies of weights that the device holds
  virtual double compile_seconds() const = 0;  // spent in compile() so far
  virtual uint32_t cached_graphs() const = 0;  // of the compiled, how many came out of a blob cache
  // Outputs beyond the range that the device has for them, which the CPU computed.
  virtual uint64_t recomputed_outputs() const { return 0; }
  // Of weight_bytes, those that the system does not count as this process's memory.
  virtual uint64_t outside_bytes() const { return 0; }
};

struct AcceleratorOptions {
  uint32_t threads = 1;        // those that the device may use, where it is made of threads
  std::string cache_folder{};  // for compiled blobs; empty: none are kept
  bool keep_weights = true;    // cpu: holds int8 weights instead of unpacking the model's in every run
  std::string bundle{};      // of graphs compiled beforehand (onnx/bundle.hpp); empty: they are compiled here
  uint32_t weight_bits = 8;  // 4: weights are rounded again, on devices whose traits say that they can be
  // Threads that have nothing to do while run() is called, for preparing what moves; null: the caller alone.
  ThreadPool* pool = nullptr;
  // Told, in one line, what was put right without help: a corrupt blob compiled anew, a cache not writable.
  std::function<void(const std::string&)> notice{};
};

}  // namespace cairn::offload
