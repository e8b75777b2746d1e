// The families that convert knows, grouped in files as their converters are; those of graph/families/.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "convert/checkpoint.hpp"
#include "convert/metadata.hpp"
#include "convert/names.hpp"

namespace cairn::convert {

// A tensor that follows from the config: RoPE's divisors, float32.
struct DerivedTensor {
  std::string name;
  std::vector<float> values;
};

struct Family {
  std::string_view architecture;          // GGUF's general.architecture
  std::vector<std::string_view> classes;  // config.json's architectures
  void (*metadata)(const Config& config, ModelMetadata& out);
  void (*vocabulary)(const Checkpoint& checkpoint, const Config& config, Metadata& out);
  void (*tensors)(TensorPlan& plan);
  std::vector<DerivedTensor> (*derived)(const Config& config, ModelMetadata& out) = nullptr;
  bool mixture = false;  // has experts; of others they are refused
  // Of several families of one class, the first whose config it is.
  bool (*fits)(const Config& config) = nullptr;
};

void add_llama_families(std::vector<Family>& out);   // llama, mistral3, smollm3, granite
void add_qwen_families(std::vector<Family>& out);    // qwen2, qwen3
void add_gemma_families(std::vector<Family>& out);   // gemma, gemma3
void add_phi_families(std::vector<Family>& out);     // phi2, phi3
void add_branch_families(std::vector<Family>& out);  // norms on the branches: olmo2, exaone4, glm4
void add_bert_families(std::vector<Family>& out);    // bert
void add_gemma4_families(std::vector<Family>& out);
void add_mixture_families(std::vector<Family>& out);   // qwen3moe, gpt-oss, granitemoe
void add_granite4_families(std::vector<Family>& out);  // granite 4, with Mamba and without
void add_nemotron_families(std::vector<Family>& out);  // nemotron_h, nemotron_h_moe

void add_deepseek_families(std::vector<Family>& out);   // deepseek2
void add_recurrent_families(std::vector<Family>& out);  // lfm2, qwen35, qwen35moe

std::span<const Family> families();
// Error unsupported names the file, the architecture and those that are known.
const Family& find_family(const Config& config);

// granite's factors, as Granite's mixtures have them too.
void granite_metadata(const Config& config, ModelMetadata& out);

void granitemoe_metadata(const Config& config, ModelMetadata& out);
// Their attention in all layers; their experts, and the one that all tokens share; or that alone.
void granite_attention(TensorPlan& plan);
void granite_experts(TensorPlan& plan);
void granite_shared_ffn(TensorPlan& plan);

// Llama 3's divisors of RoPE's frequencies ("rope_freqs.weight"), where the config's scaling is of that type.
// `factor`: what the family's converter takes where the config has none.
std::vector<DerivedTensor> llama3_divisors(const Config& config, double factor);

}  // namespace cairn::convert
