// gemma3: Gemma 3 (text): norms on q, k and on each branch; local layers with a RoPE base of their own, every
// sixth layer global. Source: Gemma 3 Technical Report, arXiv 2503.19786, section 2.
#include <cmath>

#include "formats/gguf.hpp"
#include "graph/families/families.hpp"
#include "graph/metadata.hpp"
#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

constexpr uint32_t kDefaultPattern = 6;  // five local layers, one global
constexpr double kDefaultLocalBase = 10000;
constexpr uint32_t kLayers27B = 62;

void read(const gguf::File& file, HyperParameters& p) {
  p.qk_norm = true;
  const Metadata in(file);
  read_windows(in, p, kDefaultPattern);
  // The context extension (linear scaling) is the global layers' alone.
  p.local_rope = unscaled(p.rope, in.positive("rope.freq_base_swa", kDefaultLocalBase));
  // The 27B model alone divides by sqrt(embedding / heads) (its query_pre_attn_scalar); files don't say so.
  if (p.layers == kLayers27B && file.find("gemma3.attention.scale") == nullptr) {
    p.attention_scale = 1 / std::sqrt(static_cast<float>(p.embedding) / static_cast<float>(p.heads));
  }
}

Model build_gemma3(const HyperParameters& p) {
  return build_sequential(p,
                          {.activation = Activation::gelu_tanh, .scale_embedding = true, .post_norms = true});
}

}  // namespace

const Family& gemma3_family() {
  static constexpr Family family{"gemma3", read, build_gemma3};
  return family;
}

}  // namespace cairn::graph
