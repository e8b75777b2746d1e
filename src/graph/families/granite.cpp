// granite: Granite 3 and 4, dense: llama's block, with factors on the embedding, the scores, the branches and
// the logits.
#include "formats/gguf.hpp"
#include "graph/families/families.hpp"
#include "graph/metadata.hpp"

namespace cairn::graph {
namespace {

void read(const gguf::File& file, HyperParameters& p) {
  // As in llama files: RoPE's pairs lie side by side.
  p.rope.neox = false;
  const Metadata in(file);
  p.embedding_scale = in.positive("embedding_scale", 1);
  p.residual_scale = in.positive("residual_scale", 1);
  p.logit_scale = 1 / in.positive("logit_scale");
  // The key tells whether there is RoPE at all.
  if (!file.boolean(in.key("rope.scaling.finetuned"), true)) p.no_rope_step = 1;
}

}  // namespace

const Family& granite_family() {
  static constexpr Family family{"granite", read, build_llama};
  return family;
}

}  // namespace cairn::graph
