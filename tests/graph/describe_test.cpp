#include "graph/describe.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cairn::graph {
namespace {

using testing::HasSubstr;

HyperParameters gemma3(uint32_t layers) {
  HyperParameters p;
  p.architecture = "gemma3";
  p.layers = layers;
  p.embedding = 64, p.ffn = 128, p.vocabulary = 100, p.context = 256;
  p.heads = 4, p.kv_heads = 1, p.head_size = 16;
  p.norm_epsilon = 1e-6F;
  p.rope = {.dims = 16, .neox = true, .base = 1e6F, .factors = {}};
  p.local_rope = {.dims = 16, .neox = true, .base = 1e4F, .factors = {}};
  p.window = 8, p.window_pattern = 6;
  p.attention_scale = 0.25F;
  p.qk_norm = true, p.tied_output = true;
  return p;
}

TEST(GraphDescribe, LayersThatDifferOnlyInNumberAreOne) {
  const std::string text = describe(build(gemma3(12)));
  EXPECT_THAT(text, HasSubstr("\nlayer 0\n"));
  EXPECT_THAT(text, HasSubstr("\nlayers 1–4, 6–10\n"));  // local attention
  EXPECT_THAT(text, HasSubstr("\nlayers 5, 11\n"));      // global attention
  EXPECT_THAT(text, HasSubstr("query, key → context     factor 0.25, window 8\n"));
  EXPECT_THAT(text, HasSubstr("blk.N-1.post_ffw_norm.weight, epsilon 1e-06\n"));
  EXPECT_THAT(text, HasSubstr("heads 4, dims 16, neox, base 1e+06\n"));
  for (size_t kind = 0; kind < static_cast<size_t>(SubgraphKind::count); ++kind)
    EXPECT_THAT(text, HasSubstr(std::string("  ") + name(static_cast<SubgraphKind>(kind)) + "\n"));
  EXPECT_THAT(text, testing::Not(HasSubstr(" \n")));
}

TEST(GraphDescribe, JsonHoldsEveryOpOfEveryLayer) {
  const Model model = build(gemma3(7));
  const auto json = to_json(model);
  ASSERT_EQ(json.at("layers").size(), 7U);
  for (size_t layer = 0; layer < 7; ++layer)
    for (size_t kind = 0; kind < model.layers[layer].size(); ++kind)
      EXPECT_EQ(json["layers"][layer].at(name(static_cast<SubgraphKind>(kind))).size(),
                model.layers[layer][kind].size());
  EXPECT_EQ(json.at("head").size(), model.head.size());
  EXPECT_EQ(json.at("parameters").at("vocabulary"), 100);
  const auto& rope = json["layers"][5]["attention"][2];
  EXPECT_EQ(rope.at("kind"), "rope");
  EXPECT_EQ(rope.at("rope").at("base"), 1e6);
  EXPECT_FALSE(rope.contains("weight"));
  EXPECT_EQ(json["layers"][0]["attention_input"][0].at("epsilon"), 1e-6);  // not 9.999999974752427e-07
}

}  // namespace
}  // namespace cairn::graph
