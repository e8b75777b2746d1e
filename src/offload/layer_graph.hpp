// Whole layers of a chunk for devices that compute norms, attention and activations themselves.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/cpu/plan.hpp"
#include "graph/graph.hpp"

namespace cairn::offload {

// What a prompt's chunk brings to the device.
enum class NpuForm : uint8_t {
  products,    // the int8 products of a linear input, four times a layer; the rest is the CPU's (the paper's)
  layers_a16,  // whole layers: products of 16-bit activations, a scale a token, and int8 weights
  layers_fp16,  // whole layers, half precision throughout
};
const char* name(NpuForm form);                 // "products", "layers-a16", "layers-fp16"
NpuForm parse_npu_form(std::string_view name);  // Error invalid_argument lists the names

// A layer as one graph: from the norm in front of its attention to the addition behind its feed-forward part,
// which the op lists have at the next layer's begin.
struct LayerGraph {
  std::string name;  // "blk.3"
  uint64_t key = 0;  // hash of model and tensors
  uint32_t tokens = 0;
  uint32_t past = 0;  // earlier positions whose keys and values it has room for
  NpuForm form = NpuForm::layers_fp16;
  std::string path;  // the model's file, for messages
  const graph::Model* model = nullptr;
  std::vector<cpu::BoundOp> ops;  // in the order of the lists

  const graph::Op& attention() const;
  uint32_t width() const { return model->parameters.embedding; }
  uint32_t kv_heads() const;
  uint32_t head_size() const;
  const cpu::BoundOp* rope() const;  // null: it has none
};

// Earlier positions that graphs have room for in a context of so many.
uint32_t past_of(uint32_t context);

// The layers of a model. Borrows the plan. Error unsupported: an op that no device has in this form, named.
std::vector<LayerGraph> layer_graphs(cpu::Plan& plan, const graph::Model& model);

// Residual streams are divided by this on the device: Gemma 3's reaches 104,061, and binary16 ends at 65,504.
constexpr float kResidualUnit = 32;

// What passes, as binary16. `past` and `tokens` as the graph has them.
struct LayerValues {
  // [tokens][width], the residual stream in kResidualUnit; no token is all zeros
  const uint16_t* hidden;
  // [kv head][past][head size], rotated; what the mask hides: anything finite
  const uint16_t *keys, *values;
  const uint16_t* mask;  // [tokens][past + tokens]: 0, or far below it where a token may not look
  const uint16_t *cosines,
      *sines;     // [tokens][head size]: of a pair's both features; null: the layer has none
  uint16_t* out;  // [tokens][width], as hidden
  uint16_t *new_keys, *new_values;  // [tokens][kv head][head size]
};

class AcceleratorLayer {
 public:
  virtual ~AcceleratorLayer() = default;
  // Error io: the device failed (names device and layer). Threads as AcceleratorGraph.
  virtual void run(const LayerValues& values) = 0;
};

}  // namespace cairn::offload
