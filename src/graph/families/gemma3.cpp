// gemma3: Gemma 3 (text): norms on q, k and on each branch; local layers with a RoPE base of their own, every
// sixth layer global. Source: Gemma 3 Technical Report, arXiv 2503.19786, section 2.
#include <cmath>

#include "base/error.hpp"
#include "formats/gguf.hpp"
#include "graph/families/families.hpp"
#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

constexpr uint64_t kDefaultPattern = 6;  // five local layers, one global
constexpr double kDefaultLocalBase = 10000;
constexpr uint32_t kLayers27B = 62;

void read(const gguf::File& file, HyperParameters& p) {
  p.qk_norm = true;
  const uint64_t pattern = file.integer("gemma3.attention.sliding_window_pattern", kDefaultPattern);
  if (pattern == 0 || pattern > 1'000'000) {
    fail(ErrorCode::format, "{}: gemma3.attention.sliding_window_pattern is {}, which is not a pattern",
         file.path(), pattern);
  }
  p.window_pattern = static_cast<uint32_t>(pattern);
  // The context extension (linear scaling) is the global layers' alone.
  p.local_rope = p.rope;
  p.local_rope.frequency_scale = 1;
  p.local_rope.base = static_cast<float>(file.number("gemma3.rope.freq_base_swa", kDefaultLocalBase));
  if (!(p.local_rope.base > 0) || !std::isfinite(p.local_rope.base)) {
    fail(ErrorCode::format, "{}: gemma3.rope.freq_base_swa is {}, which is not a positive number",
         file.path(), p.local_rope.base);
  }
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
