#pragma once

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "formats/gguf_writer.hpp"
#include "formats/synth_vocabulary.hpp"

namespace cairn::stack {

// A llama of two layers with random weights in f32 and a vocabulary of its own. embedding_noise: of a
// standard deviation, added to the embedding, which is the output head as well.
inline void write_small_model(const std::string& path, float embedding_noise = 0) {
  constexpr uint32_t kEmbedding = 128, kFfn = 192, kVocabulary = 300, kLayers = 2;
  gguf::Writer writer;
  writer.set("general.architecture", std::string("llama"));
  writer.set("llama.block_count", kLayers);
  writer.set("llama.embedding_length", kEmbedding);
  writer.set("llama.feed_forward_length", kFfn);
  writer.set("llama.context_length", uint32_t{512});
  writer.set("llama.attention.head_count", uint32_t{4});
  writer.set("llama.attention.head_count_kv", uint32_t{2});
  writer.set("llama.attention.layer_norm_rms_epsilon", 1e-5F);
  SynthVocabulary v = synth_vocabulary(kVocabulary);
  writer.set("tokenizer.ggml.model", std::string("gpt2"));
  writer.set("tokenizer.ggml.pre", std::string("gpt-2"));
  writer.set("tokenizer.ggml.tokens", std::move(v.tokens));
  writer.set("tokenizer.ggml.token_type", std::move(v.types));
  writer.set("tokenizer.ggml.merges", std::move(v.merges));
  writer.set("tokenizer.ggml.bos_token_id", v.end);
  writer.set("tokenizer.ggml.eos_token_id", v.end);
  writer.set("tokenizer.ggml.add_bos_token", false);
  struct Shape {
    uint64_t columns, rows;  // rows 0: a norm
  };
  std::vector<Shape> shapes;
  const auto add = [&](const std::string& name, uint64_t columns, uint64_t rows) {
    writer.add_tensor(name, Encoding::f32, rows == 0 ? std::vector{columns} : std::vector{columns, rows});
    shapes.push_back({columns, rows});
  };
  add("token_embd.weight", kEmbedding, kVocabulary);
  add("output_norm.weight", kEmbedding, 0);
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    const std::string blk = "blk." + std::to_string(layer) + ".";
    add(blk + "attn_norm.weight", kEmbedding, 0);
    add(blk + "attn_q.weight", kEmbedding, kEmbedding);
    add(blk + "attn_k.weight", kEmbedding, kEmbedding / 2);
    add(blk + "attn_v.weight", kEmbedding, kEmbedding / 2);
    add(blk + "attn_output.weight", kEmbedding, kEmbedding);
    add(blk + "ffn_norm.weight", kEmbedding, 0);
    add(blk + "ffn_gate.weight", kEmbedding, kFfn);
    add(blk + "ffn_up.weight", kEmbedding, kFfn);
    add(blk + "ffn_down.weight", kFfn, kEmbedding);
  }
  std::mt19937 random(1);
  writer.write(path, [&](size_t tensor, const gguf::Writer::Sink& sink) {
    const auto [columns, rows] = shapes[tensor];
    std::normal_distribution<float> normal(0, 1 / std::sqrt(static_cast<float>(columns)));
    std::vector<float> values(columns * std::max<uint64_t>(rows, 1), 1.0F);
    for (float& value : values) value = rows == 0 ? 1.0F : normal(random);
    std::mt19937 other(2);
    std::normal_distribution<float> noise(0, 1);
    for (float& value : values) value += tensor == 0 ? embedding_noise * noise(other) : 0;
    sink(std::as_bytes(std::span(values)));
  });
}

}  // namespace cairn::stack
