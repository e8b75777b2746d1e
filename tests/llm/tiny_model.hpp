#pragma once

#include <bit>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "formats/gguf_writer.hpp"
#include "formats/synth_vocabulary.hpp"

namespace cairn::llm {

// The chat template of the tiny model, ChatML without a default system message.
inline constexpr const char* kTinyTemplate =
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

struct TinyModel {
  std::string chat_template = kTinyTemplate;  // empty: a base model
  std::string tool_template = "";             // its variant for tools
  std::vector<std::string> control = {"<|im_start|>", "<|im_end|>"};
  bool bos = false;
  uint32_t context = 256;
  std::string poisoned = "";  // a tensor whose fourth value becomes `poison`
  float poison = std::numeric_limits<float>::quiet_NaN();
};

// Writes a llama of two layers with random weights and a byte-level vocabulary: answers are gibberish, though
// the same on every machine.
inline void write_tiny_model(const std::string& path, const TinyModel& tiny = {}) {
  constexpr uint32_t kEmbedding = 64, kFfn = 128, kHeads = 4, kKvHeads = 2, kLayers = 2;
  SynthVocabulary vocabulary = synth_vocabulary(400);
  for (const std::string& control : tiny.control) {
    vocabulary.tokens.push_back(control);
    vocabulary.types.push_back(3);
  }
  const auto size = static_cast<uint32_t>(vocabulary.tokens.size());
  gguf::Writer writer;
  writer.set("general.architecture", "llama");
  writer.set("general.name", "tiny");
  writer.set("llama.block_count", kLayers);
  writer.set("llama.context_length", tiny.context);
  writer.set("llama.embedding_length", kEmbedding);
  writer.set("llama.feed_forward_length", kFfn);
  writer.set("llama.attention.head_count", kHeads);
  writer.set("llama.attention.head_count_kv", kKvHeads);
  writer.set("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  writer.set("llama.rope.freq_base", 10000.0f);
  writer.set("llama.rope.dimension_count", kEmbedding / kHeads);
  writer.set("llama.vocab_size", size);
  writer.set("tokenizer.ggml.model", "gpt2");
  writer.set("tokenizer.ggml.pre", "smollm");
  writer.set("tokenizer.ggml.tokens", vocabulary.tokens);
  writer.set("tokenizer.ggml.token_type", vocabulary.types);
  writer.set("tokenizer.ggml.merges", vocabulary.merges);
  if (tiny.bos) writer.set("tokenizer.ggml.bos_token_id", vocabulary.end);
  writer.set("tokenizer.ggml.eos_token_id", size - 1);
  writer.set("tokenizer.ggml.add_bos_token", tiny.bos);
  if (!tiny.chat_template.empty()) writer.set("tokenizer.chat_template", tiny.chat_template);
  if (!tiny.tool_template.empty()) writer.set("tokenizer.chat_template.tool_use", tiny.tool_template);

  std::vector<std::pair<std::string, std::vector<uint64_t>>> tensors = {
      {"token_embd.weight", {kEmbedding, size}},
      {"output.weight", {kEmbedding, size}},
      {"output_norm.weight", {kEmbedding}}};
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    tensors.push_back({prefix + "attn_norm.weight", {kEmbedding}});
    tensors.push_back({prefix + "attn_q.weight", {kEmbedding, kEmbedding}});
    tensors.push_back({prefix + "attn_k.weight", {kEmbedding, kEmbedding / kHeads * kKvHeads}});
    tensors.push_back({prefix + "attn_v.weight", {kEmbedding, kEmbedding / kHeads * kKvHeads}});
    tensors.push_back({prefix + "attn_output.weight", {kEmbedding, kEmbedding}});
    tensors.push_back({prefix + "ffn_norm.weight", {kEmbedding}});
    tensors.push_back({prefix + "ffn_gate.weight", {kEmbedding, kFfn}});
    tensors.push_back({prefix + "ffn_up.weight", {kEmbedding, kFfn}});
    tensors.push_back({prefix + "ffn_down.weight", {kFfn, kEmbedding}});
  }
  for (const auto& [name, shape] : tensors) writer.add_tensor(name, Encoding::f32, shape);
  writer.write(path, [&](size_t tensor, const gguf::Writer::Sink& sink) {
    const auto& [name, shape] = tensors[tensor];
    const bool norm = shape.size() == 1;
    Random random(tensor + 1);
    std::vector<float> values(shape[0] * (norm ? 1 : shape[1]));
    for (float& value : values) value = norm ? 1.0f : static_cast<float>(random.uniform() - 0.5) * 0.6f;
    if (name == tiny.poisoned) values[3] = tiny.poison;
    sink(std::as_bytes(std::span(values)));
  });
}

// A folder for one test's files, removed at the end.
class TestFolder {
 public:
  TestFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "cairn-test-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = pattern;
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace cairn::llm
