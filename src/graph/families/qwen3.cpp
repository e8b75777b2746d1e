// qwen3: Qwen 3, dense: llama's block with a norm on each head of q and k.
#include "graph/families/families.hpp"

namespace cairn::graph {
namespace {

void read(const gguf::File&, HyperParameters& p) {
  p.qk_norm = true;
  // As with qwen2: no published model sets use_sliding_window.
  p.window = 0;
}

}  // namespace

const Family& qwen3_family() {
  static constexpr Family family{"qwen3", read, build_llama};
  return family;
}

}  // namespace cairn::graph
