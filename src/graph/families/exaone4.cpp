// exaone4: EXAONE 4.0: olmo2's block, with a norm on each head of q and k; the 32B has three local layers,
// one global, and the global ones have no RoPE. Source: EXAONE 4.0, arXiv 2507.11407, section 2.
#include "graph/families/families.hpp"
#include "graph/metadata.hpp"

namespace cairn::graph {
namespace {

constexpr uint32_t kDefaultPattern = 4;  // three local layers, one global

void read(const gguf::File& file, HyperParameters& p) {
  p.qk_norm = true;
  p.global_rope = false;
  if (p.window != 0) read_windows(Metadata(file), p, kDefaultPattern);
}

}  // namespace

const Family& exaone4_family() {
  static constexpr Family family{"exaone4", read, build_olmo2};
  return family;
}

}  // namespace cairn::graph
