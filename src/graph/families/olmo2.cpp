// olmo2: OLMo 2 and 3: norms on the branches instead of their inputs, and on q and k over all heads; OLMo 3
// has three local layers, one global, and stretches the global ones' RoPE alone. Source: OLMo 2, arXiv
// 2501.00656, section 3.
#include "graph/families/families.hpp"
#include "graph/metadata.hpp"
#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

constexpr uint32_t kDefaultPattern = 4;  // three local layers, one global

void read(const gguf::File& file, HyperParameters& p) {
  p.qk_norm = p.whole_qk_norm = true;
  if (p.window == 0) return;
  const Metadata in(file);
  read_windows(in, p, kDefaultPattern);
  p.local_rope = unscaled(p.rope, in.positive("rope.freq_base_swa", static_cast<double>(p.rope.base)));
}

}  // namespace

Model build_olmo2(const HyperParameters& p) {
  return build_sequential(p, {.input_norms = false, .post_norms = true});
}

const Family& olmo2_family() {
  static constexpr Family family{"olmo2", read, build_olmo2};
  return family;
}

}  // namespace cairn::graph
