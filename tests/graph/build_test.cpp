// The shape of the op lists: which op stands in which subgraph.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>

#include "graph/families/families.hpp"
#include "graph/graph.hpp"

namespace cairn::graph {
namespace {

HyperParameters parameters(const char* architecture) {
  HyperParameters p;
  p.architecture = architecture;
  p.layers = 7;
  p.embedding = 64;
  p.ffn = 128;
  p.vocabulary = 100;
  p.heads = 4;
  p.kv_heads = 2;
  p.head_size = 32;
  p.norm_epsilon = 1e-5F;
  p.rope.dims = 32;
  p.attention_scale = 0.5F;
  return p;
}

// "norm_rms hidden>normed" for each op.
std::string text(const OpList& ops) {
  std::string result;
  for (const Op& op : ops) {
    result += result.empty() ? "" : ", ";
    result += name(op.kind);
    result += std::string(" ") + name(op.input);
    if (op.input2 != Slot::none) result += std::string("+") + name(op.input2);
    if (op.output != op.input) result += std::string(">") + name(op.output);
  }
  return result;
}

std::string text(const Model& model, size_t layer, SubgraphKind kind) {
  return text(model.layers[layer][static_cast<size_t>(kind)]);
}

TEST(Build, LlamaHasSixSubgraphsALayer) {
  const Model model = build(parameters("llama"));
  EXPECT_EQ(text(model.embed), "embed tokens>hidden");
  EXPECT_EQ(text(model, 0, SubgraphKind::attention_input), "norm_rms hidden>normed, quantize normed");
  EXPECT_EQ(text(model, 1, SubgraphKind::attention_input),
            "add hidden+branch, norm_rms hidden>normed, quantize normed");
  EXPECT_EQ(text(model, 1, SubgraphKind::qkv), "linear normed>query, linear normed>key, linear normed>value");
  EXPECT_EQ(text(model, 1, SubgraphKind::attention),
            "rope query, rope key, attention query+key>context, quantize context");
  EXPECT_EQ(text(model, 1, SubgraphKind::attention_output), "linear context>branch");
  EXPECT_EQ(text(model, 1, SubgraphKind::ffn_input),
            "add hidden+branch, norm_rms hidden>normed, quantize normed");
  EXPECT_EQ(text(model, 1, SubgraphKind::ffn),
            "linear normed>gate, linear normed>up, gate gate+up, quantize gate, linear gate>branch");
  EXPECT_EQ(text(model.head),
            "add hidden+branch, norm_rms hidden>normed, quantize normed, linear normed>logits");
}

TEST(Build, Gemma3NormsBranchesBeforeTheyAreAdded) {
  HyperParameters p = parameters("gemma3");
  p.qk_norm = true;
  p.window = 512;
  p.window_pattern = 6;
  p.rope.base = 1e6F;
  p.local_rope = p.rope;
  p.local_rope.base = 1e4F;
  const Model model = build(p);
  EXPECT_EQ(text(model.embed), "embed tokens>hidden, scale hidden");
  EXPECT_FLOAT_EQ(model.embed[1].factor, 8);
  EXPECT_EQ(text(model, 3, SubgraphKind::attention_input),
            "norm_rms branch, add hidden+branch, norm_rms hidden>normed, quantize normed");
  const OpList& input = model.layers[3][static_cast<size_t>(SubgraphKind::attention_input)];
  EXPECT_EQ(input[0].weight, "blk.2.post_ffw_norm.weight");
  EXPECT_EQ(input[2].weight, "blk.3.attn_norm.weight");
  EXPECT_EQ(
      text(model, 3, SubgraphKind::attention),
      "norm_rms query, norm_rms key, rope query, rope key, attention query+key>context, quantize context");
  for (size_t i = 0; i < 7; ++i) {
    const OpList& ops = model.layers[i][static_cast<size_t>(SubgraphKind::attention)];
    const bool global = i == 5;
    EXPECT_EQ(ops[4].window, global ? 0U : 512U) << i;
    EXPECT_FLOAT_EQ(ops[2].rope.base, global ? 1e6F : 1e4F) << i;
    EXPECT_EQ(ops[0].heads, 4U);
    EXPECT_EQ(ops[1].heads, 2U);
  }
  EXPECT_EQ(model.head[0].weight, "blk.6.post_ffw_norm.weight");
}

TEST(Build, Phi2AddsBothBranchesTogether) {
  HyperParameters p = parameters("phi2");
  p.fused_qkv = p.qkv_bias = true;
  const Model model = build(p);
  EXPECT_EQ(text(model, 2, SubgraphKind::attention_input),
            "add hidden+branch, add hidden+branch2, norm_layer hidden>normed, quantize normed");
  EXPECT_EQ(text(model, 2, SubgraphKind::ffn_input), "");
  EXPECT_EQ(text(model, 2, SubgraphKind::ffn),
            "linear normed>up, activate up, quantize up, linear up>branch2");
  const OpList& qkv = model.layers[2][static_cast<size_t>(SubgraphKind::qkv)];
  ASSERT_EQ(qkv.size(), 3U);
  const std::array<uint32_t, 3> begins = {0, 128, 192}, rows = {128, 64, 64};
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(qkv[i].weight, "blk.2.attn_qkv.weight");
    EXPECT_EQ(qkv[i].bias, "blk.2.attn_qkv.bias");
    EXPECT_EQ(qkv[i].row_begin, begins[i]);
    EXPECT_EQ(qkv[i].rows, rows[i]);
  }
}

TEST(Build, Olmo2NormsBranchesAndNotWhatTheyRead) {
  HyperParameters p = parameters("olmo2");
  p.qk_norm = p.whole_qk_norm = true;
  p.window = 16;
  p.windows = {true, true, false, true, true, false, false};
  p.rope.frequency_scale = 0.25F;
  p.local_rope = unscaled(p.rope, 500);
  const Model model = build(p);
  EXPECT_EQ(text(model, 0, SubgraphKind::attention_input), "scale hidden>normed, quantize normed");
  EXPECT_EQ(text(model, 1, SubgraphKind::attention_input),
            "norm_rms branch, add hidden+branch, scale hidden>normed, quantize normed");
  EXPECT_EQ(text(model, 1, SubgraphKind::ffn_input),
            "norm_rms branch, add hidden+branch, scale hidden>normed, quantize normed");
  for (size_t i = 0; i < 7; ++i) {
    const OpList& ops = model.layers[i][static_cast<size_t>(SubgraphKind::attention)];
    EXPECT_EQ(ops[0].heads, 0U);  // one norm over all
    EXPECT_EQ(ops[4].window, p.windows[i] ? 16U : 0U) << i;
    EXPECT_EQ(ops[2].rope.frequency_scale, p.windows[i] ? 1.0F : 0.25F) << i;
  }
}

TEST(Build, LayersWithoutRope) {
  const auto ropes = [](const Model& model) {
    std::string result;
    for (const Layer& layer : model.layers) {
      const std::string ops = text(layer[static_cast<size_t>(SubgraphKind::attention)]);
      result += ops.starts_with("rope query, rope key, ") ? "r" : ops.starts_with("attention ") ? "-" : "?";
    }
    return result;
  };
  HyperParameters p = parameters("smollm3");
  p.no_rope_step = 4;
  EXPECT_EQ(ropes(build(p)), "rrr-rrr");
  p = parameters("exaone4");
  p.global_rope = false;
  EXPECT_EQ(ropes(build(p)), "rrrrrrr");  // without a window none is global
  p.window = 16;
  p.window_pattern = 4;
  EXPECT_EQ(ropes(build(p)), "rrr-rrr");
}

TEST(Build, GateAndUpInOneTensor) {
  HyperParameters p = parameters("phi3");
  p.fused_gate_up = true;
  const Model model = build(p);
  const OpList& ffn = model.layers[3][static_cast<size_t>(SubgraphKind::ffn)];
  EXPECT_EQ(text(ffn),
            "linear normed>gate, linear normed>up, gate gate+up, quantize gate, linear gate>branch");
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(ffn[i].weight, "blk.3.ffn_up.weight");
    EXPECT_EQ(ffn[i].rows, 128U);
    EXPECT_EQ(ffn[i].row_begin, i * 128);
  }
}

TEST(Build, MixturesRouteBeforeTheirExperts) {
  HyperParameters p = parameters("granitemoe");
  p.experts = 8, p.experts_used = 2, p.expert_ffn = 96, p.normalise_experts = false, p.expert_scale = 2.5F;
  const auto ffn = [&] { return build(p).layers[3][static_cast<size_t>(SubgraphKind::ffn)]; };
  const std::string experts =
      "linear normed>router, route router, expert_linear normed>expert_gate, expert_linear normed>expert_up, "
      "gate expert_gate+expert_up, quantize expert_gate, expert_linear expert_gate>expert_out, "
      "combine expert_out+router>branch";
  EXPECT_EQ(text(ffn()), experts);
  const Op route = ffn()[1], down = ffn()[6];
  EXPECT_EQ(route.experts, 8U);
  EXPECT_EQ(route.used, 2U);
  EXPECT_FALSE(route.normalise);
  EXPECT_EQ(route.factor, 2.5F);
  EXPECT_EQ(down.weight, "blk.3.ffn_down_exps.weight");
  EXPECT_EQ(down.rows, 64U);
  p.shared_expert = true, p.residual_scale = 0.5F;
  EXPECT_EQ(text(ffn()), experts +
                             ", linear normed>gate, linear normed>up, gate gate+up, quantize gate, "
                             "linear gate>branch2");
  EXPECT_EQ(text(build(p), 1, SubgraphKind::attention_input),
            "scale branch, add hidden+branch, scale branch2, add hidden+branch2, norm_rms hidden>normed, "
            "quantize normed");
  EXPECT_EQ(text(build(p), 1, SubgraphKind::ffn_input),
            "scale branch, add hidden+branch, norm_rms hidden>normed, quantize normed");
}

TEST(Build, GranitesFactors) {
  HyperParameters p = parameters("granite");
  p.embedding_scale = 12, p.residual_scale = 0.25F, p.logit_scale = 0.125F;
  const Model model = build(p);
  EXPECT_EQ(text(model.embed), "embed tokens>hidden, scale hidden");
  EXPECT_EQ(text(model, 1, SubgraphKind::ffn_input),
            "scale branch, add hidden+branch, norm_rms hidden>normed, quantize normed");
  EXPECT_EQ(text(model.head),
            "scale branch, add hidden+branch, norm_rms hidden>normed, quantize normed, linear normed>logits, "
            "scale logits");
  EXPECT_EQ(model.head.back().factor, 0.125F);
}

// What a scheduler relies on, in every family.
TEST(Build, OnlyTheAttentionSubgraphDependsOnThePosition) {
  for (const Family& family : families()) {
    const std::string architecture(family.architecture);
    const Model model = build(parameters(architecture.c_str()));
    ASSERT_EQ(model.layers.size(), 7U);
    for (const Layer& layer : model.layers) {
      for (size_t kind = 0; kind < layer.size(); ++kind) {
        for (const Op& op : layer[kind]) {
          const bool positional = op.kind == OpKind::rope || op.kind == OpKind::attention;
          EXPECT_TRUE(!positional || kind == static_cast<size_t>(SubgraphKind::attention)) << architecture;
          EXPECT_TRUE(op.kind != OpKind::add || op.output == Slot::hidden) << architecture;
        }
      }
    }
  }
}

// Each linear reads what was marked for integer products and not written since.
TEST(Build, LinearsReadWhatIsMarked) {
  for (const Family& family : families()) {
    const std::string architecture(family.architecture);
    const Model model = build(parameters(architecture.c_str()));
    std::set<Slot> marked;
    const auto walk = [&](const OpList& ops) {
      for (const Op& op : ops) {
        const bool product = op.kind == OpKind::linear || op.kind == OpKind::expert_linear;
        EXPECT_TRUE(!product || marked.contains(op.input)) << architecture << " " << op.weight;
        if (op.kind == OpKind::quantize) {
          marked.insert(op.input);
        } else {
          marked.erase(op.output);
        }
      }
    };
    walk(model.embed);
    for (const Layer& layer : model.layers) {
      for (const OpList& ops : layer) walk(ops);
    }
    walk(model.head);
  }
}

TEST(Model, WidthsOfSlots) {
  const Model model = build(parameters("llama"));
  EXPECT_EQ(model.width(Slot::hidden), 64U);
  EXPECT_EQ(model.width(Slot::branch2), 64U);
  EXPECT_EQ(model.width(Slot::query), 128U);
  EXPECT_EQ(model.width(Slot::context), 128U);
  EXPECT_EQ(model.width(Slot::key), 64U);
  EXPECT_EQ(model.width(Slot::up), 128U);
  EXPECT_EQ(model.width(Slot::logits), 100U);
  EXPECT_EQ(model.width(Slot::none), 0U);
}

}  // namespace
}  // namespace cairn::graph
