// exaone4: EXAONE 4.0: norms on the branches instead of their inputs, and on each head of q and k; the 32B
// has three local layers, one global, and the global ones have no RoPE. Source: EXAONE 4.0, arXiv 2507.11407,
// section 2.
#include "graph/families/families.hpp"
#include "graph/metadata.hpp"
#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

constexpr uint32_t kDefaultPattern = 4;  // three local layers, one global

void read(const gguf::File& file, HyperParameters& p) {
  p.qk_norm = true;
  p.global_rope = false;
  if (p.window != 0) read_windows(Metadata(file), p, kDefaultPattern);
}

Model build_exaone4(const HyperParameters& p) {
  return build_sequential(p, {.input_norms = false, .post_norms = true});
}

}  // namespace

const Family& exaone4_family() {
  static constexpr Family family{"exaone4", read, build_exaone4};
  return family;
}

}  // namespace cairn::graph
