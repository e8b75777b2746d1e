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
  if (in.has("rope.dimension_sections")) {
    fail(ErrorCode::unsupported, "{}: {}: positions of pictures are not supported", in.path(),
         in.key("rope.dimension_sections"));
  }
  if (const uint64_t extra = file.integer(in.key("nextn_predict_layers"), 0); extra != 0) {
    fail(ErrorCode::unsupported, "{}: {} is {}: layers that predict further tokens are not supported",
         in.path(), in.key("nextn_predict_layers"), extra);
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
