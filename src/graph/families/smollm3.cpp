// smollm3: SmolLM3: llama's block; every fourth layer has no RoPE, which files leave unsaid. Source: the
// model's description and config.json (no_rope_layers).
#include "graph/families/families.hpp"

namespace cairn::graph {
namespace {

constexpr uint32_t kNoRopeStep = 4;

void read(const gguf::File&, HyperParameters& p) {
  // As in llama files: RoPE's pairs lie side by side.
  p.rope.neox = false;
  p.no_rope_step = kNoRopeStep;
  // As with qwen2: no published model sets use_sliding_window.
  p.window = 0;
}

}  // namespace

const Family& smollm3_family() {
  static constexpr Family family{"smollm3", read, build_llama};
  return family;
}

}  // namespace cairn::graph
