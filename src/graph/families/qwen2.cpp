// qwen2: Qwen 1.5, 2 and 2.5: llama's block with biases on q, k and v.
#include "graph/families/families.hpp"

namespace cairn::graph {
namespace {

void read(const gguf::File&, HyperParameters& p) {
  p.qkv_bias = true;
  // transformers applies the window only where use_sliding_window is set, which no published model does.
  p.window = 0;
}

}  // namespace

const Family& qwen2_family() {
  static constexpr Family family{"qwen2", read, build_llama};
  return family;
}

}  // namespace cairn::graph
