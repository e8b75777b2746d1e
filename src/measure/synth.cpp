#include "measure/synth.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <vector>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "formats/gguf_writer.hpp"
#include "formats/random_blocks.hpp"
#include "formats/synth_vocabulary.hpp"
#include "graph/model_shapes.hpp"
#include "measure/synth_plan.hpp"

namespace cairn::measure {
namespace {

using graph::ModelShape;

// The shape with the options' layers and vocabulary.
ModelShape chosen_shape(const SynthOptions& options) {
  const ModelShape* known = graph::find_shape(options.shape);
  if (!known) fail(ErrorCode::invalid_argument, "shape '{}' is not known", options.shape);
  ModelShape shape = *known;
  if (options.layers > shape.layers)
    fail(ErrorCode::invalid_argument, "{} has {} layers, fewer than {}", shape.name, shape.layers,
         options.layers);
  if (options.layers) shape.layers = options.layers;
  if (shape.layers < shape.attention_interval)
    fail(ErrorCode::invalid_argument, "{} needs {} layers, the last of which has attention: {} are too few",
         shape.name, shape.attention_interval, shape.layers);
  constexpr uint32_t kLeast = 257;  // every byte and the end
  if (options.vocabulary && (options.vocabulary < kLeast || options.vocabulary > shape.vocabulary))
    fail(ErrorCode::invalid_argument, "a vocabulary of {} is not possible: {} to {} tokens",
         options.vocabulary, kLeast, shape.vocabulary);
  if (options.vocabulary) shape.vocabulary = options.vocabulary;
  return shape;
}

// The tensors of a model under the names that llama.cpp's converter gives them.
std::vector<Planned> plan(const ModelShape& s, Encoding encoding) {
  if (!s.kinds.empty()) return plan_mamba2(s, encoding);
  const bool phi = s.architecture == "phi2";
  std::vector<Planned> tensors;
  const auto matrix = [&](const std::string& name, uint64_t k, uint64_t rows, bool bias) {
    tensors.push_back({name + ".weight", Role::matrix, {k, rows}, fitting_encoding(encoding, k)});
    if (bias) tensors.push_back({name + ".bias", Role::bias, {rows}, Encoding::f32});
  };
  const auto norm_of = [&](const std::string& name, uint64_t width) {
    tensors.push_back({name + ".weight", Role::norm, {width}, Encoding::f32});
    if (phi) tensors.push_back({name + ".bias", Role::bias, {width}, Encoding::f32});
  };
  const auto norm = [&](const std::string& name) { norm_of(name, s.embedding); };
  const uint64_t query = uint64_t{s.heads} * s.head_size, kv = uint64_t{s.kv_heads} * s.head_size;
  matrix("token_embd", s.embedding, s.vocabulary, false);
  for (uint32_t layer = 0; layer < s.layers; ++layer) {
    const std::string block = fmt::format("blk.{}.", layer);
    norm(block + "attn_norm");
    const bool delta = s.delta_heads != 0 && (layer + 1) % s.attention_interval != 0;
    if (delta) {
      const uint64_t width = uint64_t{s.delta_heads} * s.delta_size;
      const uint64_t channels = width + uint64_t{2} * s.delta_key_heads * s.delta_size;
      matrix(block + "attn_qkv", s.embedding, channels, false);
      matrix(block + "attn_gate", s.embedding, width, false);
      matrix(block + "ssm_alpha", s.embedding, s.delta_heads, false);
      matrix(block + "ssm_beta", s.embedding, s.delta_heads, false);
      tensors.push_back({block + "ssm_conv1d.weight", Role::plain, {s.conv_window, channels}, Encoding::f32});
      tensors.push_back({block + "ssm_a", Role::decay, {s.delta_heads}, Encoding::f32});
      tensors.push_back({block + "ssm_dt.bias", Role::bias, {s.delta_heads}, Encoding::f32});
      norm_of(block + "ssm_norm", s.delta_size);
      matrix(block + "ssm_out", width, s.embedding, false);
    } else if (s.latent_rank != 0) {
      const uint32_t plain = s.query_size - s.rope_dims;
      matrix(block + "attn_q", s.embedding, uint64_t{s.heads} * s.query_size, false);
      matrix(block + "attn_kv_a_mqa", s.embedding, s.head_size, false);
      norm_of(block + "attn_kv_a_norm", s.latent_rank);
      matrix(block + "attn_k_b", plain, s.latent_rank, false);
      tensors.back().shape.push_back(s.heads);
      matrix(block + "attn_v_b", s.latent_rank, s.value_size, false);
      tensors.back().shape.push_back(s.heads);
      matrix(block + "attn_output", uint64_t{s.heads} * s.value_size, s.embedding, false);
    } else if (phi) {  // queries, keys and values are one matrix
      matrix(block + "attn_qkv", s.embedding, query + 2 * kv, true);
    } else {
      const bool bias = s.architecture == "qwen2";
      matrix(block + "attn_q", s.embedding, s.delta_heads != 0 ? 2 * query : query, bias);  // gates beside
      matrix(block + "attn_k", s.embedding, kv, bias);
      matrix(block + "attn_v", s.embedding, kv, bias);
    }
    if (!delta && s.latent_rank == 0) {
      if (s.architecture.starts_with("qwen3")) {  // of each head
        norm_of(block + "attn_q_norm", s.head_size);
        norm_of(block + "attn_k_norm", s.head_size);
      }
      matrix(block + "attn_output", query, s.embedding, phi);
    }
    if (!phi) {  // phi-2's attention and ffn share a norm, and its ffn has no gate
      norm(block + (s.delta_heads != 0 ? "post_attention_norm" : "ffn_norm"));
    }
    if (s.experts != 0 && layer >= s.dense_layers) {
      // Converters keep routers as they are.
      tensors.push_back(
          {block + "ffn_gate_inp.weight", Role::plain, {s.embedding, s.experts}, Encoding::f32});
      const auto experts = [&](const char* name, uint64_t k, uint64_t rows) {
        matrix(block + name, k, rows, false);
        tensors.back().shape.push_back(s.experts);
      };
      experts("ffn_gate_exps", s.embedding, s.expert_ffn);
      experts("ffn_up_exps", s.embedding, s.expert_ffn);
      experts("ffn_down_exps", s.expert_ffn, s.embedding);
      if (const uint64_t shared = uint64_t{s.shared_experts} * s.expert_ffn; shared != 0) {
        matrix(block + "ffn_gate_shexp", s.embedding, shared, false);
        matrix(block + "ffn_up_shexp", s.embedding, shared, false);
        matrix(block + "ffn_down_shexp", shared, s.embedding, false);
      }
      continue;
    }
    if (!phi) {
      matrix(block + "ffn_gate", s.embedding, s.ffn, false);
    }
    matrix(block + "ffn_up", s.embedding, s.ffn, phi);
    matrix(block + "ffn_down", s.ffn, s.embedding, phi);
  }
  norm("output_norm");
  if (!s.tied) matrix("output", s.embedding, s.vocabulary, phi);
  return tensors;
}

// llama.cpp's llama_ftype for a file that is this encoding throughout.
uint32_t file_type(Encoding encoding) {
  switch (encoding) {
    case Encoding::f32:
      return 0;
    case Encoding::f16:
      return 1;
    case Encoding::q4_0:
      return 2;
    case Encoding::q4_1:
      return 3;
    case Encoding::q8_0:
      return 7;
    case Encoding::q5_0:
      return 8;
    case Encoding::q5_1:
      return 9;
    case Encoding::q2_k:
      return 10;
    case Encoding::q3_k:
      return 11;
    case Encoding::q4_k:
      return 14;
    case Encoding::q5_k:
      return 16;
    case Encoding::q6_k:
      return 18;
    case Encoding::iq2_xxs:
      return 19;
    case Encoding::iq2_xs:
      return 20;
    case Encoding::iq3_xxs:
      return 23;
    case Encoding::iq1_s:
      return 24;
    case Encoding::iq4_nl:
      return 25;
    case Encoding::iq3_s:
      return 26;
    case Encoding::iq2_s:
      return 28;
    case Encoding::iq4_xs:
      return 30;
    case Encoding::iq1_m:
      return 31;
    case Encoding::bf16:
      return 32;
    case Encoding::tq1_0:
      return 36;
    case Encoding::tq2_0:
      return 37;
    case Encoding::mxfp4:
      return 38;
    case Encoding::nvfp4:
      return 39;
    case Encoding::q1_0:
      return 40;
  }
  fail(ErrorCode::unsupported, "encoding {} is not known", static_cast<uint32_t>(encoding));
}

void set_hyper_parameters(gguf::Writer& writer, const ModelShape& s, Encoding encoding) {
  const auto key = [&](std::string_view name) { return fmt::format("{}.{}", s.architecture, name); };
  writer.set("general.architecture", std::string(s.architecture));
  writer.set("general.name", fmt::format("{} with random weights", s.name));
  writer.set("general.file_type", file_type(encoding));
  writer.set("general.quantization_version", uint32_t{2});
  writer.set(key("block_count"), s.layers);
  writer.set(key("context_length"), s.context);
  writer.set(key("embedding_length"), s.embedding);
  writer.set(key("attention.head_count"), s.heads);
  if (s.kinds.empty()) {
    writer.set(key("feed_forward_length"), s.ffn);
    writer.set(key("attention.head_count_kv"), s.kv_heads);
  }
  writer.set(key("rope.dimension_count"), s.rope_dims);
  writer.set(key("rope.freq_base"), s.rope_base);
  const bool phi = s.architecture == "phi2";
  writer.set(key(phi ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon"), s.norm_epsilon);
  if (s.latent_rank != 0) {
    writer.set(key("attention.key_length"), s.head_size);
    writer.set(key("attention.value_length"), s.latent_rank);
    writer.set(key("attention.kv_lora_rank"), s.latent_rank);
    writer.set(key("attention.key_length_mla"), s.query_size);
    writer.set(key("attention.value_length_mla"), s.value_size);
    writer.set(key("leading_dense_block_count"), s.dense_layers);
    writer.set(key("expert_shared_count"), s.shared_experts);
  } else if (s.head_size * s.heads != s.embedding || s.architecture == "gemma") {
    writer.set(key("attention.key_length"), s.head_size);
    writer.set(key("attention.value_length"), s.head_size);
  }
  if (s.experts != 0) {
    writer.set(key("expert_count"), s.experts);
    writer.set(key("expert_used_count"), s.experts_used);
    writer.set(key("expert_feed_forward_length"), s.expert_ffn);
  }
  if (!s.kinds.empty()) return set_mamba2(writer, s);
  if (s.delta_heads != 0) {
    writer.set(key("full_attention_interval"), s.attention_interval);
    writer.set(key("ssm.conv_kernel"), s.conv_window);
    writer.set(key("ssm.state_size"), s.delta_size);
    writer.set(key("ssm.group_count"), s.delta_key_heads);
    writer.set(key("ssm.time_step_rank"), s.delta_heads);
    writer.set(key("ssm.inner_size"), s.delta_heads * s.delta_size);
  }
  if (s.architecture == "llama") writer.set("llama.vocab_size", s.vocabulary);
}

}  // namespace

Encoding fitting_encoding(Encoding wanted, uint64_t row_elements) {
  if (row_elements % info(wanted).block_elements == 0) return wanted;
  switch (wanted) {
    case Encoding::q4_k:
      return Encoding::q5_0;
    case Encoding::q5_k:
      return Encoding::q5_1;
    case Encoding::q6_k:
      return Encoding::q8_0;
    default:
      return Encoding::iq4_nl;
  }
}

SynthReport synth_report(const SynthOptions& options) {
  SynthReport report;
  for (const Planned& t : plan(chosen_shape(options), options.encoding)) {
    ++report.tensors;
    report.elements += t.elements();
    report.bytes += t.bytes();
    if (t.role == Role::matrix && t.encoding != options.encoding) {
      ++report.fallbacks;
      report.fallback = t.encoding;
    }
  }
  return report;
}

SynthReport synthesize(const SynthOptions& options, const std::string& path,
                       const std::function<void(uint64_t done, uint64_t total)>& progress) {
  const SynthReport report = synth_report(options);
  const ModelShape shape = chosen_shape(options);
  gguf::Writer writer;
  set_hyper_parameters(writer, shape, options.encoding);
  set_vocabulary(writer, synth_vocabulary(shape.vocabulary), shape.pre_tokenizer);
  const std::vector<Planned> tensors = plan(shape, options.encoding);
  for (const Planned& t : tensors) writer.add_tensor(t.name, t.encoding, t.shape);

  RandomBlocks random(options.seed);
  std::vector<std::byte> piece;
  uint64_t written = 0;
  writer.write(path, [&](size_t index, const gguf::Writer::Sink& sink) {
    const Planned& t = tensors[index];
    const auto emit = [&](std::span<const std::byte> bytes) {
      throw_if_interrupted();
      sink(bytes);
      written += bytes.size();
      progress(written, report.bytes);
    };
    if (t.role == Role::norm || t.role == Role::bias || t.role == Role::decay) {
      std::vector<float> values(t.elements());
      const double mean = t.role == Role::norm ? 1 : t.role == Role::decay ? -0.1 : 0;
      for (float& v : values) v = random.normal(mean, RandomBlocks::kDeviation);
      return emit(std::as_bytes(std::span(values)));
    }
    const uint64_t most = uint64_t{4096} * info(t.encoding).block_bytes;  // a piece stays in the cache
    for (uint64_t done = 0; done < t.bytes(); done += piece.size()) {
      piece.resize(std::min(most, t.bytes() - done));
      random.fill(t.encoding, piece);
      emit(piece);
    }
  });
  return report;
}

}  // namespace cairn::measure
