// llama: Llama 1 to 3, Mistral, SmolLM2 and the many models converted to this architecture.
#include "base/error.hpp"
#include "formats/gguf.hpp"
#include "graph/families/families.hpp"
#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

void read(const gguf::File& file, HyperParameters& p) {
  const uint64_t experts = file.integer("llama.expert_count", 0);
  if (experts != 0) {
    fail(ErrorCode::unsupported, "{}: llama.expert_count is {}: mixtures of experts are not supported",
         file.path(), experts);
  }
  // The converter permutes the rows of q and k so that RoPE's pairs lie side by side.
  p.rope.neox = false;
  // Llama 3's frequency divisors; the converter computes them from the rope_scaling of type llama3.
  if (file.find_tensor("rope_freqs.weight") != nullptr) p.rope.factors = "rope_freqs.weight";
}

Model build_llama(const HyperParameters& p) {
  return build_sequential(p, {.activation = Activation::silu});
}

}  // namespace

const Family& llama_family() {
  static constexpr Family family{"llama", read, build_llama};
  return family;
}

}  // namespace cairn::graph
