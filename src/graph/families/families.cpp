#include "graph/families/families.hpp"

#include <array>
#include <string>

#include "base/error.hpp"
#include "graph/metadata.hpp"

namespace cairn::graph {

std::span<const Family> families() {
  static const std::array all = {
      llama_family(),    qwen2_family(),         qwen3_family(),      gemma_family(),
      gemma3_family(),   phi2_family(),          phi3_family(),       mistral3_family(),
      smollm3_family(),  olmo2_family(),         glm4_family(),       exaone4_family(),
      granite_family(),  qwen3moe_family(),      granitemoe_family(), gpt_oss_family(),
      lfm2_family(),     qwen35_family(),        qwen35moe_family(),  bert_family(),
      gemma4_family(),   granitehybrid_family(), nemotron_h_family(), nemotron_h_moe_family(),
      deepseek2_family()};
  return all;
}

void read_windows(const Metadata& in, HyperParameters& p, uint32_t pattern) {
  p.windows = in.windows(p.layers);
  p.window_pattern = in.window_pattern(pattern);
}

uint32_t read_state_heads(const Metadata& in, HyperParameters& p) {
  p.delta_heads = in.size("ssm.time_step_rank", kMaxDeltaHeads);
  p.delta_key_heads = in.size("ssm.group_count", kMaxDeltaHeads);
  const uint32_t width = in.size("ssm.inner_size");
  if (p.delta_heads % p.delta_key_heads != 0) {
    fail(ErrorCode::format, "{}: {} is {}, not a multiple of {} = {}", in.path(),
         in.key("ssm.time_step_rank"), p.delta_heads, in.key("ssm.group_count"), p.delta_key_heads);
  }
  return width;
}

void check_state(const Metadata& in, uint64_t width, uint64_t rows) {
  if (width * rows <= kMaxState) return;
  fail(ErrorCode::format, "{}: a layer's state of {} × {} is {} numbers, expected at most {}", in.path(),
       in.key("ssm.inner_size"), in.key("ssm.state_size"), width * rows, kMaxState);
}

Rope unscaled(const Rope& rope, float base) {
  Rope plain;
  plain.dims = rope.dims;
  plain.neox = rope.neox;
  plain.base = base;
  return plain;
}

const Family& find_family(std::string_view architecture, std::string_view where) {
  std::string known;
  for (const Family& family : families()) {
    if (family.architecture == architecture) return family;
    known += known.empty() ? "" : ", ";
    known += family.architecture;
  }
  fail(ErrorCode::unsupported, "{}{}model architecture '{}' is not supported (known: {})", where,
       where.empty() ? "" : ": ", architecture, known);
}

}  // namespace cairn::graph
