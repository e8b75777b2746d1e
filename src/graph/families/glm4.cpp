// glm4: GLM-4-0414 and GLM-Z1, dense: norms around each branch, gate and up in one tensor, biases on q, k and
// v, RoPE on half of each head.
#include "base/error.hpp"
#include "formats/gguf.hpp"
#include "graph/families/families.hpp"
#include "graph/metadata.hpp"
#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

void read(const gguf::File& file, HyperParameters& p) {
  p.rope.neox = false;
  p.fused_gate_up = true;
  const Metadata in(file);
  for (const char* key : {"rope.dimension_sections", "nextn_predict_layers"}) {
    if (!in.has(key)) continue;
    fail(ErrorCode::unsupported, "{}: {} is not supported (GLM-4V's positions and GLM-OCR's extra layers)",
         in.path(), in.key(key));
  }
}

Model build_glm4(const HyperParameters& p) {
  return build_sequential(p, {.post_norms = true});
}

}  // namespace

const Family& glm4_family() {
  static constexpr Family family{"glm4", read, build_glm4};
  return family;
}

}  // namespace cairn::graph
