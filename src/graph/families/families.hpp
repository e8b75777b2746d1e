// The model families that cairn knows, one file each; a new one is a file and a line in families().
#pragma once

#include <span>
#include <string_view>

#include "graph/graph.hpp"

namespace cairn::gguf {
class File;
}

namespace cairn::graph {

class Metadata;

struct Family {
  std::string_view architecture;  // GGUF's general.architecture
  // Completes what read_common() left open or set to the usual; errors as in read_hyper_parameters().
  void (*read)(const gguf::File& file, HyperParameters& parameters);
  Model (*build)(const HyperParameters& parameters);
  bool mixture = false;  // of experts; the metadata must say of how many
  bool whole_ramp =
      false;  // YaRN's ramp begins and ends between pairs ("truncate" of the checkpoint is false)
  bool recurrent = false;      // layers without kv heads have a recurrent state
  bool causal = true;          // see HyperParameters
  bool layers_differ = false;  // in kv heads and widths, which the metadata may list
  bool single_parts = false;   // a layer is attention, a state, or a feed-forward part alone, as lists say
  bool latent = false;         // attention is latent, see HyperParameters
  bool some_mixtures = false;  // of its models: those whose metadata says of how many experts
};

const Family& llama_family();
const Family& qwen2_family();
const Family& qwen3_family();
const Family& gemma_family();
const Family& gemma3_family();
const Family& phi2_family();
const Family& phi3_family();
const Family& mistral3_family();
const Family& smollm3_family();
const Family& olmo2_family();
const Family& glm4_family();
const Family& exaone4_family();
const Family& granite_family();
const Family& qwen3moe_family();
const Family& granitemoe_family();
const Family& gpt_oss_family();
const Family& lfm2_family();
const Family& qwen35_family();
const Family& qwen35moe_family();  // the same with experts
const Family& bert_family();
const Family& gemma4_family();
const Family& granitehybrid_family();
const Family& nemotron_h_family();
const Family& nemotron_h_moe_family();  // the same with experts
const Family& deepseek2_family();

// Blocks that several families share: llama's, and olmo2's, which has norms on the branches instead of their
// inputs.
Model build_llama(const HyperParameters& parameters);
Model build_olmo2(const HyperParameters& parameters);

// Which layers see the window alone: as the file lists, or all but every n-th; where it says nothing,
// `pattern` is n.
void read_windows(const Metadata& in, HyperParameters& parameters, uint32_t pattern);
// Error format: the state of a layer, [rows][width], is beyond any model's.
void check_state(const Metadata& in, uint64_t width, uint64_t rows);
// Heads of a state, and of its keys, which divide them. Returns what they take together.
uint32_t read_state_heads(const Metadata& in, HyperParameters& parameters);
// The sizes of Mamba-2's layers.
void read_mamba2(const gguf::File& file, HyperParameters& parameters);
// The same rotation of a text of the original length, with a base of its own.
Rope unscaled(const Rope& rope, float base);

std::span<const Family> families();
// Error unsupported, with the architectures that cairn knows; `where` (a file's path or empty) begins its
// text.
const Family& find_family(std::string_view architecture, std::string_view where);

}  // namespace cairn::graph
