// Multi-head latent attention: what lies in the cache is compressed, and queries and results are brought
// there and back instead of keys and values being expanded (arXiv 2405.04434, section 2.1.2).
#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

// Of the norms of what is compressed, whatever the others' (transformers' and DeepSeek's own code).
constexpr float kLatentEpsilon = 1e-6F;

Op head_linear_op(Slot input, Slot output, std::string weight, uint32_t heads, uint32_t k, uint32_t rows) {
  Op op{.kind = OpKind::head_linear, .input = input, .output = output};
  op.weight = std::move(weight);
  op.heads = heads;
  op.block = k;
  op.rows = rows;
  return op;
}

}  // namespace

void add_latent_attention(Layer& layer, const HyperParameters& p, uint32_t index) {
  const auto tensor = [&](const char* part) { return layer_tensor(index, part); };
  const auto linear = [&](Slot input, Slot output, const char* part, uint32_t rows) {
    return linear_op(input, output, tensor(part), "", rows);
  };
  const uint32_t query_rows = p.heads * (p.plain_size + p.rope.dims);
  OpList& qkv = subgraph(layer, SubgraphKind::qkv);
  const auto compress = [&] {
    qkv.push_back(linear(Slot::normed, Slot::key, "attn_kv_a_mqa.weight", p.head_size));
  };
  if (p.query_rank == 0) {
    qkv.push_back(linear(Slot::normed, Slot::query_heads, "attn_q.weight", query_rows));
    compress();
  } else {
    qkv.push_back(linear(Slot::normed, Slot::query_latent, "attn_q_a.weight", p.query_rank));
    compress();
    qkv.push_back(
        norm_rms_op(Slot::query_latent, Slot::query_latent, tensor("attn_q_a_norm.weight"), kLatentEpsilon));
    qkv.push_back(quantize_op(Slot::query_latent));
    qkv.push_back(linear(Slot::query_latent, Slot::query_heads, "attn_q_b.weight", query_rows));
  }

  OpList& attention = subgraph(layer, SubgraphKind::attention);
  Op norm = norm_rms_op(Slot::key, Slot::key, tensor("attn_kv_a_norm.weight"), kLatentEpsilon);
  norm.width = p.latent_rank;
  attention.push_back(norm);
  const auto turn = [&](Slot slot, uint32_t heads, uint32_t offset) {
    Op rope = rope_op(slot, heads, p.rope);
    rope.offset = offset;
    attention.push_back(rope);
  };
  turn(Slot::query_heads, p.heads, p.plain_size);
  turn(Slot::key, 1, p.latent_rank);
  attention.push_back(head_linear_op(Slot::query_heads, Slot::query, tensor("attn_k_b.weight"), p.heads,
                                     p.plain_size, p.latent_rank));
  Op attend{.kind = OpKind::attention, .input = Slot::query, .input2 = Slot::key, .output = Slot::context};
  attend.factor = p.attention_scale;
  attend.latent = true;
  attention.push_back(attend);
  attention.push_back(head_linear_op(Slot::context, Slot::context_heads, tensor("attn_v_b.weight"), p.heads,
                                     p.latent_rank, p.value_size));
  attention.push_back(quantize_op(Slot::context_heads));
  subgraph(layer, SubgraphKind::attention_output)
      .push_back(linear(Slot::context_heads, Slot::branch, "attn_output.weight", p.embedding));
}

}  // namespace cairn::graph
