// phi3: Phi-3, Phi-3.5 and Phi-4, dense: llama's block with q, k and v in one tensor, gate and up in another;
// LongRoPE in those of 128k tokens, RoPE on a part of each head in Phi-4-mini.
#include "graph/families/families.hpp"

namespace cairn::graph {
namespace {

void read(const gguf::File&, HyperParameters& p) {
  p.fused_gate_up = true;
}

}  // namespace

const Family& phi3_family() {
  static constexpr Family family{"phi3", read, build_llama};
  return family;
}

}  // namespace cairn::graph
