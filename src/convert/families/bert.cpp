// BERT and the models that embed texts with it.
#include "base/error.hpp"
#include "convert/families.hpp"
#include "convert/pooling.hpp"
#include "convert/vocabulary.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

void bert_metadata(const Config& config, ModelMetadata& out) {
  for (const auto& [key, wanted] :
       {std::pair{"hidden_act", "gelu"}, {"position_embedding_type", "absolute"}}) {
    if (const std::string found = config.text(key); !found.empty() && found != wanted)
      fail(ErrorCode::unsupported, "{}: {} {} is not supported ('{}' is)", config.path(), key, quote(found),
           wanted);
  }
  out.size("block_count", config.layers());
  out.size("context_length", config.size("max_position_embeddings"));
  out.size("embedding_length", config.size("hidden_size"));
  out.size("feed_forward_length", config.size("intermediate_size"));
  out.size("attention.head_count", config.heads());
  out.number("attention.layer_norm_epsilon", config.number("layer_norm_eps"));
  out.all().set("bert.attention.causal", false);
  pooling_metadata(config, out);
}

// As rules have it; empty: it belongs to what the model was trained with, and is passed over.
std::string bert_name(std::string name) {
  if (name.starts_with("bert.")) name.erase(0, 5);
  const auto replace_end = [&](std::string_view end, std::string_view by) {
    if (name.ends_with(end)) name.replace(name.size() - end.size(), end.size(), by);
  };
  replace_end(".gamma", ".weight");
  replace_end(".beta", ".bias");
  const bool unused = name == "embeddings.position_ids" || name.starts_with("pooler.") ||
                      name.starts_with("cls.predictions") || name.starts_with("cls.seq_relationship");
  return unused ? std::string() : name;
}

void bert_tensors(TensorPlan& plan) {
  plan.rename = bert_name;
  const uint64_t width = plan.hidden;
  const auto both = [&](const std::string& from, const std::string& to, std::vector<uint64_t> shape) {
    const uint64_t rows = shape.front();
    plan.add({from + ".weight", to + ".weight", std::move(shape)});
    plan.add({from + ".bias", to + ".bias", {rows}});
  };
  plan.add({"embeddings.word_embeddings.weight", "token_embd.weight", {plan.vocabulary, width}});
  plan.add({"embeddings.position_embeddings.weight",
            "position_embd.weight",
            {plan.config().size("max_position_embeddings"), width}});
  plan.add({"embeddings.token_type_embeddings.weight",
            "token_types.weight",
            {plan.config().size("type_vocab_size"), width}});
  both("embeddings.LayerNorm", "token_embd_norm", {width});
  for (uint32_t i = 0; i < plan.layers; ++i) {
    const std::string from = fmt::format("encoder.layer.{}.", i), to = fmt::format("blk.{}.", i);
    both(from + "attention.self.query", to + "attn_q", {width, width});
    both(from + "attention.self.key", to + "attn_k", {width, width});
    both(from + "attention.self.value", to + "attn_v", {width, width});
    both(from + "attention.output.dense", to + "attn_output", {width, width});
    both(from + "attention.output.LayerNorm", to + "attn_output_norm", {width});
    both(from + "intermediate.dense", to + "ffn_up", {plan.ffn, width});
    both(from + "output.dense", to + "ffn_down", {width, plan.ffn});
    both(from + "output.LayerNorm", to + "layer_output_norm", {width});
  }
}

}  // namespace

void add_bert_families(std::vector<Family>& out) {
  out.push_back(
      {"bert", {"BertModel", "BertForMaskedLM"}, bert_metadata, word_piece_vocabulary, bert_tensors});
}

}  // namespace cairn::convert
