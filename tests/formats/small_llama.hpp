#pragma once

#include <cmath>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "formats/gguf_writer.hpp"
#include "formats/random_blocks.hpp"
#include "formats/synth_vocabulary.hpp"

namespace cairn::testing {

struct SmallLlama {
  uint32_t embedding = 128, ffn = 192, vocabulary = 300;
  uint32_t heads = 4, kv_heads = 2, head_size = 0;  // 0: embedding / heads
  bool tokenizer = true;
  float embedding_noise = 0;  // of a standard deviation, added to the embedding, the output head as well
  bool q4_0 = false;          // matrices of random blocks of 32 weights: a scale in f16 and 16 bytes
  std::optional<Encoding> random{};  // matrices of random blocks of this encoding
};

// Writes a llama of two layers with random weights in f32.
inline void write_small_llama(const std::string& path, const SmallLlama& llama = {}) {
  gguf::Writer writer;
  writer.set("general.architecture", std::string("llama"));
  writer.set("llama.block_count", uint32_t{2});
  writer.set("llama.embedding_length", llama.embedding);
  writer.set("llama.feed_forward_length", llama.ffn);
  writer.set("llama.context_length", uint32_t{512});
  const uint32_t head_size = llama.head_size == 0 ? llama.embedding / llama.heads : llama.head_size;
  writer.set("llama.attention.head_count", llama.heads);
  writer.set("llama.attention.head_count_kv", llama.kv_heads);
  if (llama.head_size != 0) {
    writer.set("llama.attention.key_length", head_size);
    writer.set("llama.attention.value_length", head_size);
  }
  writer.set("llama.attention.layer_norm_rms_epsilon", 1e-5F);
  if (llama.tokenizer) set_vocabulary(writer, synth_vocabulary(llama.vocabulary), "gpt-2");
  struct Shape {
    uint64_t columns, rows;  // rows 0: a norm
  };
  std::vector<Shape> shapes;
  const auto add = [&](const std::string& name, uint64_t columns, uint64_t rows) {
    writer.add_tensor(name,
                      rows == 0    ? Encoding::f32
                      : llama.q4_0 ? Encoding::q4_0
                                   : llama.random.value_or(Encoding::f32),
                      rows == 0 ? std::vector{columns} : std::vector{columns, rows});
    shapes.push_back({columns, rows});
  };
  add("token_embd.weight", llama.embedding, llama.vocabulary);
  add("output_norm.weight", llama.embedding, 0);
  for (const std::string blk : {"blk.0.", "blk.1."}) {
    add(blk + "attn_norm.weight", llama.embedding, 0);
    add(blk + "attn_q.weight", llama.embedding, llama.heads * head_size);
    add(blk + "attn_k.weight", llama.embedding, llama.kv_heads * head_size);
    add(blk + "attn_v.weight", llama.embedding, llama.kv_heads * head_size);
    add(blk + "attn_output.weight", llama.heads * head_size, llama.embedding);
    add(blk + "ffn_norm.weight", llama.embedding, 0);
    add(blk + "ffn_gate.weight", llama.embedding, llama.ffn);
    add(blk + "ffn_up.weight", llama.embedding, llama.ffn);
    add(blk + "ffn_down.weight", llama.ffn, llama.embedding);
  }
  std::mt19937 random(1);
  constexpr size_t kDrawn = 1'000'000;  // of a large matrix; the rest repeats them
  writer.write(path, [&](size_t tensor, const gguf::Writer::Sink& sink) {
    const auto [columns, rows] = shapes[tensor];
    if (llama.random && rows > 0) {
      const EncodingInfo& encoding = info(*llama.random);
      std::vector<std::byte> blocks(columns * rows / encoding.block_elements * encoding.block_bytes);
      RandomBlocks(tensor).fill(*llama.random, blocks);
      return sink(blocks);
    }
    if (llama.q4_0 && rows > 0) {
      std::vector<unsigned char> blocks(columns * rows / 32 * 18);
      for (size_t i = 0; i < blocks.size(); ++i)
        blocks[i] = i % 18 == 0   ? 0
                    : i % 18 == 1 ? 0x20
                                  : static_cast<unsigned char>(random());  // 0x2000: 2⁻⁷
      return sink(std::as_bytes(std::span(blocks)));
    }
    std::normal_distribution<float> normal(0, 1 / std::sqrt(static_cast<float>(columns)));
    std::vector<float> values(columns * std::max<uint64_t>(rows, 1), 1.0F);
    for (size_t i = 0; rows > 0 && i < values.size(); ++i)
      values[i] = i < kDrawn ? normal(random) : values[i - kDrawn];
    std::mt19937 other(2);
    std::normal_distribution<float> noise(0, 1);
    for (float& value : values) value += tensor == 0 ? llama.embedding_noise * noise(other) : 0;
    sink(std::as_bytes(std::span(values)));
  });
}

}  // namespace cairn::testing
