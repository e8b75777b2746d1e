// mistral3: Mistral Small 3.1 and later, Ministral 3: llama's block; Ministral's contexts are stretched by
// YaRN, and its queries grow with their position (attention temperature).
#include "base/error.hpp"
#include "formats/gguf.hpp"
#include "graph/families/families.hpp"
#include "graph/metadata.hpp"

namespace cairn::graph {
namespace {

void read(const gguf::File& file, HyperParameters& p) {
  // As in llama files: RoPE's pairs lie side by side.
  p.rope.neox = false;
  const Metadata in(file);
  if (in.number("attention.temperature_scale", 0) == 0) return;
  p.temperature = in.positive("attention.temperature_scale");
  // It is RoPE's tables that make the queries larger.
  if (p.rope.dims != p.head_size) {
    fail(ErrorCode::unsupported, "{}: {} with RoPE on {} of {} elements of a head is not supported",
         in.path(), in.key("attention.temperature_scale"), p.rope.dims, p.head_size);
  }
}

}  // namespace

const Family& mistral3_family() {
  static constexpr Family family{"mistral3", read, build_llama};
  return family;
}

}  // namespace cairn::graph
