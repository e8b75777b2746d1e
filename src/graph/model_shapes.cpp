#include "graph/model_shapes.hpp"

#include <algorithm>
#include <array>

namespace cairn::graph {
namespace {

constexpr ModelShape latent(ModelShape shape, uint32_t rank, uint32_t query, uint32_t value, uint32_t shared,
                            uint32_t dense) {
  shape.latent_rank = rank;
  shape.query_size = query;
  shape.value_size = value;
  shape.shared_experts = shared;
  shape.dense_layers = dense;
  return shape;
}

// attention: of so many layers the last is the first with attention.
constexpr ModelShape mamba2(ModelShape shape, std::string_view kinds, uint32_t heads, uint32_t groups,
                            uint32_t size) {
  shape.kinds = kinds;
  shape.attention_interval = static_cast<uint32_t>(kinds.find('*')) + 1;
  shape.delta_heads = heads;
  shape.delta_key_heads = groups;
  shape.delta_size = size;
  shape.conv_window = 4;
  shape.scan_state = 128;
  return shape;
}

// From the config.json of Qwen1.5-1.8B, Qwen2.5-1.5B, Qwen3-0.6B, gemma-2b, phi-2, Llama-2-7b,
// Mistral-7B-v0.2, Qwen3-30B-A3B, Qwen3.5-0.8B (its text part without the layer that drafts),
// DeepSeek-V2-Lite (without YaRN), Granite-4.0-H-Tiny and -Micro, NVIDIA-Nemotron-Nano-9B-v2 and
// NVIDIA-Nemotron-3-Nano-30B-A3B.
constexpr std::array<ModelShape, 14> kShapes{{
    // name, architecture, pre-tokenizer, layers, context, embedding, ffn, heads, kv heads, head size,
    // vocabulary, rope dims, rope base, epsilon, tied, experts, experts of a token, width of each; layers to
    // one with attention, heads of delta nets, of their keys, size of a head, positions of a convolution
    {"qwen1.5-1.8b", "qwen2", "qwen2", 24, 32768, 2048, 5504, 16, 16, 128, 151936, 128, 1e6F, 1e-6F, false},
    {"qwen2.5-1.5b", "qwen2", "qwen2", 28, 32768, 1536, 8960, 12, 2, 128, 151936, 128, 1e6F, 1e-6F, true},
    {"qwen3-0.6b", "qwen3", "qwen2", 28, 40960, 1024, 3072, 16, 8, 128, 151936, 128, 1e6F, 1e-6F, true},
    {"gemma-2b", "gemma", "gpt-2", 18, 8192, 2048, 16384, 8, 1, 256, 256000, 256, 1e4F, 1e-6F, true},
    {"phi-2", "phi2", "gpt-2", 32, 2048, 2560, 10240, 32, 32, 80, 51200, 32, 1e4F, 1e-5F, false},
    {"llama-2-7b", "llama", "gpt-2", 32, 4096, 4096, 11008, 32, 32, 128, 32000, 128, 1e4F, 1e-5F, false},
    {"mistral-7b", "llama", "gpt-2", 32, 32768, 4096, 14336, 32, 8, 128, 32000, 128, 1e6F, 1e-5F, false},
    {"qwen3-30b-a3b", "qwen3moe", "qwen2", 48, 40960, 2048, 6144, 32, 4, 128, 151936, 128, 1e6F, 1e-6F, false,
     128, 8, 768},
    {"qwen3.5-0.8b", "qwen35", "qwen35", 24, 262144, 1024, 3584, 8,  2,  256, 248320, 64,
     1e7F,           1e-6F,    true,     0,  0,      0,    4,    16, 16, 128, 4},
    latent({"deepseek-v2-lite", "deepseek2", "deepseek-llm", 27, 163840, 2048, 10944, 16, 1, 576, 102400, 64,
            1e4F, 1e-6F, false, 64, 6, 1408},
           512, 192, 128, 2, 1),
    mamba2({"granite-4.0-h-tiny", "granitehybrid", "gpt-2", 40, 131072, 1536, 1024, 12, 4, 128, 100352, 128,
            1e4F, 1e-5F, true, 64, 6, 512},
           "MMMMM*MMMM", 48, 1, 64),
    mamba2({"granite-4.0-h-micro", "granitehybrid", "gpt-2", 40, 131072, 2048, 8192, 32, 8, 64, 100352, 64,
            1e4F, 1e-5F, true},
           "MMMMM*MMMM", 64, 1, 64),
    mamba2({"nemotron-nano-9b-v2", "nemotron_h", "gpt-2", 56, 131072, 4480, 15680, 40, 8, 128, 131072, 112,
            1e4F, 1e-5F, false},
           "M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-", 128, 8, 80),
    mamba2({"nemotron-3-nano-30b-a3b", "nemotron_h_moe", "gpt-2", 52, 262144, 2688, 3712, 32, 2, 128, 131072,
            84, 1e4F, 1e-5F, false, 128, 6, 1856},
           "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME", 64, 8, 64),
}};

}  // namespace

std::span<const ModelShape> model_shapes() {
  return kShapes;
}

std::string shape_names() {
  std::string names;
  for (const ModelShape& shape : kShapes) (names += names.empty() ? "" : ", ") += shape.name;
  return names;
}

const ModelShape* find_shape(std::string_view name) {
  const auto found =
      std::find_if(kShapes.begin(), kShapes.end(), [=](const auto& s) { return s.name == name; });
  return found == kShapes.end() ? nullptr : &*found;
}

}  // namespace cairn::graph
