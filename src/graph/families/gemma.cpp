// gemma: Gemma 1. Its norms multiply by 1 + weight; the converter has already added the 1.
#include "graph/families/families.hpp"
#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

void read(const gguf::File&, HyperParameters&) {}

Model build_gemma(const HyperParameters& p) {
  return build_sequential(p, {.activation = Activation::gelu_tanh, .scale_embedding = true});
}

}  // namespace

const Family& gemma_family() {
  static constexpr Family family{"gemma", read, build_gemma};
  return family;
}

}  // namespace cairn::graph
