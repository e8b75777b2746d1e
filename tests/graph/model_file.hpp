// A small llama file that tests change before it is written: one thing wrong at a time.
#pragma once

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "formats/gguf.hpp"
#include "formats/gguf_writer.hpp"

namespace cairn::graph {

struct ModelFile {
  std::map<std::string, gguf::WriterValue> metadata;
  std::map<std::string, std::vector<uint64_t>> tensors;

  explicit ModelFile(const std::string& architecture = "llama") {
    const auto key = [&](const char* suffix) { return architecture + "." + suffix; };
    metadata["general.architecture"] = architecture;
    metadata[key("block_count")] = uint32_t{2};
    metadata[key("context_length")] = uint32_t{128};
    metadata[key("embedding_length")] = uint32_t{32};
    metadata[key("feed_forward_length")] = uint32_t{64};
    metadata[key("attention.head_count")] = uint32_t{4};
    metadata[key("attention.head_count_kv")] = uint32_t{2};
    metadata[key("attention.layer_norm_rms_epsilon")] = 1e-5F;
    tensors["token_embd.weight"] = {32, 100};
    tensors["output_norm.weight"] = {32};
    for (int layer = 0; layer < 2; ++layer) {
      const std::string prefix = "blk." + std::to_string(layer) + ".";
      tensors[prefix + "attn_norm.weight"] = {32};
      tensors[prefix + "attn_q.weight"] = {32, 32};
      tensors[prefix + "attn_k.weight"] = {32, 16};
      tensors[prefix + "attn_v.weight"] = {32, 16};
      tensors[prefix + "attn_output.weight"] = {32, 32};
      tensors[prefix + "ffn_norm.weight"] = {32};
      tensors[prefix + "ffn_gate.weight"] = {32, 64};
      tensors[prefix + "ffn_up.weight"] = {32, 64};
      tensors[prefix + "ffn_down.weight"] = {64, 32};
    }
  }

  // qwen3moe with four experts, 16 wide, two for each token; or another architecture that has such.
  static ModelFile mixture(const std::string& architecture = "qwen3moe") {
    ModelFile model(architecture);
    model.metadata[architecture + ".expert_count"] = uint32_t{4};
    model.metadata[architecture + ".expert_used_count"] = uint32_t{2};
    model.metadata[architecture + ".expert_feed_forward_length"] = uint32_t{16};
    for (const std::string prefix : {"blk.0.", "blk.1."}) {
      for (const char* name : {"ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"})
        model.tensors.erase(prefix + name);
      model.tensors[prefix + "ffn_gate_inp.weight"] = {32, 4};
      model.tensors[prefix + "ffn_gate_exps.weight"] = {32, 16, 4};
      model.tensors[prefix + "ffn_up_exps.weight"] = {32, 16, 4};
      model.tensors[prefix + "ffn_down_exps.weight"] = {16, 32, 4};
      if (architecture != "qwen3moe") continue;
      model.tensors[prefix + "attn_q_norm.weight"] = {8};
      model.tensors[prefix + "attn_k_norm.weight"] = {8};
    }
    return model;
  }
  static ModelFile gpt_oss() {
    ModelFile model = mixture("gpt-oss");
    model.metadata["gpt-oss.attention.sliding_window"] = uint32_t{16};
    for (const std::string prefix : {"blk.0.", "blk.1."}) {
      model.tensors.erase(prefix + "ffn_norm.weight");
      model.tensors[prefix + "post_attention_norm.weight"] = {32};
      model.tensors[prefix + "attn_sinks.weight"] = {4};
      model.tensors[prefix + "attn_q.bias"] = {32};
      model.tensors[prefix + "attn_k.bias"] = model.tensors[prefix + "attn_v.bias"] = {16};
      model.tensors[prefix + "attn_output.bias"] = {32};
      model.tensors[prefix + "ffn_gate_inp.bias"] = {4};
      model.tensors[prefix + "ffn_gate_exps.bias"] = model.tensors[prefix + "ffn_up_exps.bias"] = {16, 4};
      model.tensors[prefix + "ffn_down_exps.bias"] = {32, 4};
    }
    return model;
  }

  // All weights are zero. The file vanishes under the mapping at once.
  gguf::File open() const {
    const std::string path =
        (std::filesystem::temp_directory_path() / ("cairn-model-" + std::to_string(getpid()) + ".gguf"))
            .string();
    gguf::Writer writer;
    for (const auto& [key, value] : metadata) writer.set(key, value);
    std::vector<size_t> sizes;
    for (const auto& [name, shape] : tensors) {
      writer.add_tensor(name, Encoding::f32, shape);
      sizes.push_back(sizeof(float));
      for (const uint64_t dimension : shape) sizes.back() *= dimension;
    }
    writer.write(path, [&](size_t tensor, const gguf::Writer::Sink& sink) {
      sink(std::vector<std::byte>(sizes[tensor]));
    });
    gguf::File file(path);
    std::filesystem::remove(path);
    return file;
  }
};

}  // namespace cairn::graph
