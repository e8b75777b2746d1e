// gpt-oss: OpenAI's open-weight mixtures (20B, 120B): biases everywhere, a sink for each head, every other
// layer local, clamped gates, YaRN. Source: gpt-oss model card, arXiv 2508.10925, section 2.
#include "graph/families/families.hpp"
#include "graph/metadata.hpp"
#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

constexpr uint32_t kDefaultPattern = 2;  // one local layer, one global

void read(const gguf::File& file, HyperParameters& p) {
  p.qkv_bias = p.attention_output_bias = p.expert_bias = p.sinks = true;
  const Metadata in(file);
  p.window = in.size("attention.sliding_window", kMaxContext);
  read_windows(in, p, kDefaultPattern);
}

// llama.cpp's name of the norm in front of the experts is that of a norm behind the attention.
Model build_gpt_oss(const HyperParameters& p) {
  return build_sequential(p,
                          {.activation = Activation::silu_clamped, .ffn_norm = "post_attention_norm.weight"});
}

}  // namespace

const Family& gpt_oss_family() {
  static constexpr Family family{"gpt-oss", read, build_gpt_oss, true, true};
  return family;
}

}  // namespace cairn::graph
