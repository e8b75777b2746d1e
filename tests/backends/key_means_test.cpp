// An int8 cache on a model whose keys have large biases in the channels that positions hardly turn, as Qwen
// 2's.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "backends/cpu/engine.hpp"
#include "base/temporary_folder.hpp"
#include "engine/one_sequence.hpp"
#include "formats/gguf_writer.hpp"
#include "formats/synth_vocabulary.hpp"

namespace cairn::cpu {
namespace {

using engine::KvType;
using engine::Logits;

constexpr uint32_t kWidth = 128, kFfn = 128, kHeads = 4, kKvHeads = 2, kHead = kWidth / kHeads, kLayers = 2,
                   kVocabulary = 300;

// bias: of the slowest pair of each kv head.
void write_model(const std::string& path, float bias) {
  gguf::Writer writer;
  writer.set("general.architecture", std::string("qwen2"));
  writer.set("qwen2.block_count", kLayers);
  writer.set("qwen2.embedding_length", kWidth);
  writer.set("qwen2.feed_forward_length", kFfn);
  writer.set("qwen2.context_length", uint32_t{512});
  writer.set("qwen2.attention.head_count", kHeads);
  writer.set("qwen2.attention.head_count_kv", kKvHeads);
  writer.set("qwen2.attention.layer_norm_rms_epsilon", 1e-5F);
  writer.set("qwen2.rope.freq_base", 1e6F);
  set_vocabulary(writer, synth_vocabulary(kVocabulary), "gpt-2");
  struct Part {
    std::string name;
    uint64_t columns, rows;  // rows 0: a vector
  };
  std::vector<Part> parts = {{"token_embd.weight", kWidth, kVocabulary}, {"output_norm.weight", kWidth, 0}};
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    const std::string blk = "blk." + std::to_string(layer) + ".";
    constexpr uint32_t kKeys = kHead * kKvHeads;
    for (const Part& part : std::vector<Part>{{"attn_norm.weight", kWidth, 0},
                                              {"attn_q.weight", kWidth, kWidth},
                                              {"attn_q.bias", kWidth, 0},
                                              {"attn_k.weight", kWidth, kKeys},
                                              {"attn_k.bias", kKeys, 0},
                                              {"attn_v.weight", kWidth, kKeys},
                                              {"attn_v.bias", kKeys, 0},
                                              {"attn_output.weight", kWidth, kWidth},
                                              {"ffn_norm.weight", kWidth, 0},
                                              {"ffn_gate.weight", kWidth, kFfn},
                                              {"ffn_up.weight", kWidth, kFfn},
                                              {"ffn_down.weight", kFfn, kWidth}})
      parts.push_back({blk + part.name, part.columns, part.rows});
  }
  for (const Part& part : parts)
    writer.add_tensor(part.name, Encoding::f32,
                      part.rows == 0 ? std::vector{part.columns} : std::vector{part.columns, part.rows});
  std::mt19937 random(3);
  writer.write(path, [&](size_t index, const gguf::Writer::Sink& sink) {
    const Part& part = parts[index];
    std::normal_distribution<float> normal(0, 1 / std::sqrt(static_cast<float>(part.columns)));
    std::vector<float> values(part.columns * std::max<uint64_t>(part.rows, 1));
    for (float& value : values) value = part.rows > 0 ? normal(random) : part.name.ends_with(".bias") ? 0 : 1;
    if (part.name.ends_with("attn_k.bias")) {
      for (uint32_t head = 0; head < kKvHeads; ++head) {
        values[head * kHead + kHead / 2 - 1] = bias;
        values[head * kHead + kHead - 1] = -0.5F * bias;
      }
    }
    sink(std::as_bytes(std::span(values)));
  });
}

// The mean of KL(f16 ‖ cache) over the positions of a text, prefilled in chunks or token by token.
double divergence(const std::string& path, uint32_t chunk, KvType cache) {
  const gguf::File file(path);
  const auto logits = [&](KvType kv) {
    engine::OneSequence runner(make_engine(file, {.context = 256, .threads = 1, .chunk = chunk, .kv = kv}));
    std::vector<float> all(256 * kVocabulary);
    std::mt19937 random(5);
    std::vector<int32_t> tokens(256);
    for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 256);
    for (uint32_t at = 0; at < 256; at += chunk)
      runner.run(std::span(tokens).subspan(at, chunk), at, Logits::all, all.data() + at * kVocabulary);
    return all;
  };
  const std::vector<float> p = logits(KvType::f16), q = logits(cache);
  const auto log_sum = [](const float* row) {
    double sum = 0;
    for (uint32_t i = 0; i < kVocabulary; ++i) sum += std::exp(static_cast<double>(row[i]));
    return std::log(sum);
  };
  double total = 0;
  for (size_t at = 0; at < 256; ++at) {
    const float *a = p.data() + at * kVocabulary, *b = q.data() + at * kVocabulary;
    const double a_sum = log_sum(a), b_sum = log_sum(b);
    for (uint32_t i = 0; i < kVocabulary; ++i) {
      const double log_a = static_cast<double>(a[i]) - a_sum;
      total += std::exp(log_a) * (log_a - static_cast<double>(b[i]) + b_sum) / 256;
    }
  }
  return total;
}

// Without the mean taken off, a bias of 200 makes the divergence hundreds of times larger; with it, what is
// left is how far the pair turns within the text.
TEST(KeyMeans, LargeBiasesCostSmallCachesLittle) {
  const testing::TemporaryFolder folder;
  write_model(folder / "plain.gguf", 0);
  write_model(folder / "biased.gguf", 200);
  for (const KvType cache : {KvType::i8, KvType::q4}) {
    for (const uint32_t chunk : {64u, 1u}) {
      const double plain = divergence(folder / "plain.gguf", chunk, cache);
      EXPECT_GT(plain, 0);
      EXPECT_LT(divergence(folder / "biased.gguf", chunk, cache), 10 * plain) << chunk;
    }
  }
}

}  // namespace
}  // namespace cairn::cpu
