// Hyper-parameters out of a GGUF file's metadata. Key names: ggml's docs/gguf.md and the `gguf` Python
// package.
#include <cmath>
#include <map>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "formats/gguf.hpp"
#include "formats/stack_file.hpp"
#include "graph/families/families.hpp"
#include "graph/graph.hpp"

namespace cairn::graph {
namespace {

// Far above any model, and low enough that products of two sizes fit into 64 bits with room to spare.
constexpr uint64_t kMaxLayers = 10'000;
constexpr uint64_t kMaxSize = uint64_t{1} << 24;
constexpr uint64_t kMaxContext = uint64_t{1} << 31;

class Reader {
 public:
  explicit Reader(const gguf::File& file)
      : file_(file), prefix_(std::string(file.text("general.architecture")) + ".") {}

  std::string key(const char* suffix) const { return prefix_ + suffix; }
  bool has(const char* suffix) const { return file_.find(key(suffix)) != nullptr; }

  uint32_t size(const char* suffix, uint64_t most = kMaxSize) const {
    return checked(suffix, file_.integer(key(suffix)), most);
  }
  uint32_t size(const char* suffix, uint64_t otherwise, uint64_t most) const {
    return has(suffix) ? size(suffix, most) : checked(suffix, otherwise, most);
  }
  float positive(const char* suffix) const { return checked(suffix, file_.number(key(suffix))); }
  float positive(const char* suffix, double otherwise) const {
    return checked(suffix, file_.number(key(suffix), otherwise));
  }

 private:
  uint32_t checked(const char* suffix, uint64_t value, uint64_t most) const {
    if (value < 1 || value > most) {
      fail(ErrorCode::format, "{}: {} is {}, expected 1 to {}", file_.path(), key(suffix), value, most);
    }
    return static_cast<uint32_t>(value);
  }
  float checked(const char* suffix, double value) const {
    const float narrow = static_cast<float>(value);
    if (!std::isfinite(narrow) || !(narrow > 0)) {
      fail(ErrorCode::format, "{}: {} is {}, expected a positive number", file_.path(), key(suffix), value);
    }
    return narrow;
  }

  const gguf::File& file_;
  std::string prefix_;
};

void read_attention(const gguf::File& file, const Reader& in, HyperParameters& p) {
  p.heads = in.size("attention.head_count");
  p.kv_heads = in.size("attention.head_count_kv", p.heads, kMaxSize);
  if (p.heads % p.kv_heads != 0) {
    fail(ErrorCode::format, "{}: {} is {}, not a multiple of {} = {}", file.path(),
         in.key("attention.head_count"), p.heads, in.key("attention.head_count_kv"), p.kv_heads);
  }
  if (in.has("attention.key_length")) {
    p.head_size = in.size("attention.key_length");
  } else if (p.embedding % p.heads == 0) {
    p.head_size = p.embedding / p.heads;
  } else {
    fail(ErrorCode::format, "{}: {} = {} does not divide {} = {}, and there is no {}", file.path(),
         in.key("attention.head_count"), p.heads, in.key("embedding_length"), p.embedding,
         in.key("attention.key_length"));
  }
  const uint32_t value_size = in.size("attention.value_length", p.head_size, kMaxSize);
  if (value_size != p.head_size) {
    fail(ErrorCode::unsupported, "{}: {} = {} differs from the key's {}", file.path(),
         in.key("attention.value_length"), value_size, p.head_size);
  }
  if (const uint64_t width = uint64_t{p.heads} * p.head_size; width > kMaxSize) {
    fail(ErrorCode::format, "{}: {} heads of {} are {} wide, expected at most {}", file.path(), p.heads,
         p.head_size, width, kMaxSize);
  }
  p.attention_scale = in.positive("attention.scale", 1 / std::sqrt(static_cast<double>(p.head_size)));
  if (in.has("attention.sliding_window") && file.integer(in.key("attention.sliding_window")) != 0) {
    p.window = in.size("attention.sliding_window", kMaxContext);
  }
  if (in.has("attn_logit_softcapping")) p.attention_softcap = in.positive("attn_logit_softcapping");
  if (in.has("final_logit_softcapping")) p.logit_softcap = in.positive("final_logit_softcapping");
}

void read_rope(const gguf::File& file, const Reader& in, HyperParameters& p) {
  p.rope.neox = true;  // llama alone differs
  p.rope.dims = in.size("rope.dimension_count", p.head_size, kMaxSize);
  if (p.rope.dims > p.head_size || p.rope.dims % 2 != 0) {
    fail(ErrorCode::format, "{}: {} is {}, expected an even number up to the head's size {}", file.path(),
         in.key("rope.dimension_count"), p.rope.dims, p.head_size);
  }
  p.rope.base = in.positive("rope.freq_base", 10000);
  const std::string scaling(file.text(in.key("rope.scaling.type"), "linear"));
  if (scaling == "linear") {
    // rope.scale_linear is the older name of the same factor.
    const char* factor = in.has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
    // Some files say 0 for "none".
    const bool none = in.has(factor) && file.number(in.key(factor)) == 0;
    p.rope.frequency_scale = none ? 1.0F : 1 / in.positive(factor, 1);
  } else if (scaling != "none") {
    fail(ErrorCode::unsupported, "{}: {} '{}' is not supported (known: none, linear, llama 3's divisors)",
         file.path(), in.key("rope.scaling.type"), scaling);
  }
}

// What the tensors alone tell: the vocabulary's size and which optional tensors there are. Layer 0 stands for
// all; load() compares every layer.
void read_tensors(const gguf::File& file, HyperParameters& p) {
  std::map<std::string, uint64_t, std::less<>> stacked;  // rows of what a stack keeps as blocks
  if (stack::is_stack(file)) {
    for (const stack::Matrix& m : stack::read_layout(file).matrices) stacked.emplace(m.name, m.rows);
  }
  const auto has = [&](std::string_view tensor) {
    return file.find_tensor(tensor) != nullptr || stacked.contains(tensor);
  };
  const auto embedding = stacked.find("token_embd.weight");
  const uint64_t rows =
      embedding != stacked.end() ? embedding->second : file.tensor("token_embd.weight").rows();
  if (rows < 1 || rows > kMaxSize) {
    fail(ErrorCode::format, "{}: tensor token_embd.weight has {} rows, expected 1 to {}", file.path(), rows,
         kMaxSize);
  }
  p.vocabulary = static_cast<uint32_t>(rows);
  if (const size_t tokens = file.texts("tokenizer.ggml.tokens").size();
      tokens != 0 && tokens != p.vocabulary) {
    fail(ErrorCode::format, "{}: tokenizer.ggml.tokens has {} entries, but tensor token_embd.weight {} rows",
         file.path(), tokens, p.vocabulary);
  }
  p.tied_output = !has("output.weight");
  p.output_bias = has("output.bias");
  p.fused_qkv = has("blk.0.attn_qkv.weight");
  p.qkv_bias = has(p.fused_qkv ? "blk.0.attn_qkv.bias" : "blk.0.attn_q.bias");
  p.attention_output_bias = has("blk.0.attn_output.bias");
  p.ffn_bias = has("blk.0.ffn_up.bias");
}

}  // namespace

HyperParameters read_hyper_parameters(const gguf::File& file) {
  HyperParameters p;
  p.architecture = file.text("general.architecture");
  const Family& family = find_family(p.architecture, file.path());
  const Reader in(file);
  p.layers = in.size("block_count", kMaxLayers);
  p.embedding = in.size("embedding_length");
  p.ffn = in.size("feed_forward_length");
  p.context = in.size("context_length", kMaxContext);
  p.norm_epsilon = in.positive(in.has("attention.layer_norm_rms_epsilon") ? "attention.layer_norm_rms_epsilon"
                                                                          : "attention.layer_norm_epsilon");
  read_attention(file, in, p);
  read_rope(file, in, p);
  read_tensors(file, p);
  family.read(file, p);
  return p;
}

}  // namespace cairn::graph
