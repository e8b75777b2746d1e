// llama: Llama 1 to 3, Mistral, SmolLM2 and the many models converted to this architecture.
#include "graph/families/families.hpp"
#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

void read(const gguf::File&, HyperParameters& p) {
  // The converter permutes the rows of q and k so that RoPE's pairs lie side by side.
  p.rope.neox = false;
}

}  // namespace

Model build_llama(const HyperParameters& p) {
  return build_sequential(p, {.activation = Activation::silu});
}

const Family& llama_family() {
  static constexpr Family family{"llama", read, build_llama};
  return family;
}

}  // namespace cairn::graph
