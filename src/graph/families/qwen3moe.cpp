// qwen3moe: Qwen 3's mixtures of experts (30B-A3B, 235B-A22B): qwen3's attention, and of each layer's experts
// some for each token. Source: Qwen3 Technical Report, arXiv 2505.09388, section 2.
#include "graph/families/families.hpp"

namespace cairn::graph {
namespace {

void read(const gguf::File& file, HyperParameters& p) {
  qwen3_family().read(file, p);
}

}  // namespace

const Family& qwen3moe_family() {
  static constexpr Family family{"qwen3moe", read, build_llama, true};
  return family;
}

}  // namespace cairn::graph
