// granitemoe: Granite 3's mixtures of experts (1B-A400M, 3B-A800M) and Granite 4's without Mamba: granite's
// factors and attention; some have one expert more, which all tokens share.
#include "graph/families/families.hpp"
#include "graph/metadata.hpp"

namespace cairn::graph {
namespace {

void read(const gguf::File& file, HyperParameters& p) {
  granite_family().read(file, p);
  const Metadata in(file);
  p.shared_expert = in.has("expert_shared_feed_forward_length") &&
                    file.integer(in.key("expert_shared_feed_forward_length")) != 0;
  if (p.shared_expert) p.ffn = in.size("expert_shared_feed_forward_length");
}

}  // namespace

const Family& granitemoe_family() {
  static constexpr Family family{"granitemoe", read, build_llama, true};
  return family;
}

}  // namespace cairn::graph
