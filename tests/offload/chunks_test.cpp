#include "offload/chunks.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include "base/expect_error.hpp"
#include "offload/describe_graphs.hpp"
#include "offload/simulated/times.hpp"

namespace cairn::offload {
namespace {

using Lengths = std::vector<uint32_t>;

// Each chunk costs `fixed` and each of its tokens one.
PromptSeconds linear(double fixed) {
  return [fixed](std::span<const uint32_t> lengths) {
    return std::accumulate(lengths.begin(), lengths.end(), 0.0) + fixed * static_cast<double>(lengths.size());
  };
}

TEST(Chunks, CoverThePromptAtLeastCost) {
  EXPECT_EQ(plan_chunks(1024, 256, linear(1)).lengths, (Lengths{256, 256, 256, 256}));
  EXPECT_EQ(plan_chunks(1, 256, linear(1)).lengths, Lengths{32});
  EXPECT_EQ(plan_chunks(257, 256, linear(1)).lengths, (Lengths{256, 32}));
  EXPECT_EQ(plan_chunks(300, 256, linear(1)).lengths, (Lengths{256, 64}));
  const ChunkPlan plan = plan_chunks(300, 256, linear(1));
  EXPECT_TRUE(plan.tail());
  EXPECT_EQ(plan.padding(), 20u);
  EXPECT_EQ(plan.seconds, 322);
  EXPECT_EQ(plan_chunks(500, 256, linear(1)).lengths, (Lengths{256, 256}));
}

// A last chunk is padded when the smaller graph costs more: here anything but 256 tokens is slow.
TEST(Chunks, PadTheLastWhereThatCostsLess) {
  const PromptSeconds only_full = [](std::span<const uint32_t> lengths) {
    double seconds = 0;
    for (uint32_t length : lengths) seconds += length == 256 ? 1 : 10;
    return seconds;
  };
  const ChunkPlan plan = plan_chunks(300, 256, only_full);
  EXPECT_EQ(plan.lengths, (Lengths{256, 256}));
  EXPECT_FALSE(plan.tail());
  EXPECT_EQ(plan.padding(), 212u);
}

TEST(Chunks, AreChosenByTheProfile) {
  EXPECT_EQ(plan_chunks(2048, 0, linear(1000)).chunk, 1024u);  // what is dear is the chunk
  EXPECT_EQ(plan_chunks(1024, 0, linear(0)).chunk, 32u);       // equal ones: the first tried
  const PromptSeconds squares = [](std::span<const uint32_t> lengths) {
    double seconds = 0;
    for (uint32_t length : lengths) seconds += 10'000 + double(length) * length;
    return seconds;
  };
  EXPECT_EQ(plan_chunks(1024, 0, squares).chunk, 128u);  // n/l · (10,000 + l²) is least near l = 100
  EXPECT_LE(plan_chunks(32768, 0, linear(0)).lengths.size(), 64u);
}

TEST(Chunks, RefuseWhatCannotBe) {
  const auto refuses = [](const std::string& part, uint32_t prompt, uint32_t chunk) {
    cairn::testing::expect_error(ErrorCode::invalid_argument, part,
                                 [&] { plan_chunks(prompt, chunk, linear(1)); });
  };
  refuses("empty", 0, 256);
  refuses("31 tokens", 10, 31);
  refuses("1025 tokens", 10, 1025);
}

TEST(Chunks, ShareAllGraphsButAttention) {
  const ModelSizes qwen(*graph::find_shape("qwen1.5-1.8b"));
  const Lengths four(4, 256);
  const GraphCount count = count_graphs(qwen, four);
  EXPECT_EQ(count.chunk_subgraphs, 144u);  // the paper's figures
  EXPECT_EQ(count.chunk_shared, 120u);
  EXPECT_EQ(count.compiled, 120u + 4 * 24);
  EXPECT_EQ(count.unshared, 4u * 144);
  // "up to 75 % (7.2 GB)" for 1,024 tokens in chunks of 256: three of four copies but the attention's
  // buffers.
  const double share = static_cast<double>(count.saved()) / static_cast<double>(count.unshared_bytes);
  EXPECT_LT(share, 0.75);
  EXPECT_GT(share, 0.70);
  // Weights: 24 · (4 · 2048² + 3 · 2048 · 5504) int8, in each unshared copy.
  EXPECT_EQ(qwen.layer_weights() * 24, 1214251008u);
  EXPECT_GT(count.unshared_bytes, 4 * qwen.layer_weights() * 24);
  const GraphCount one = count_graphs(qwen, Lengths{256});
  EXPECT_EQ(one.saved(), 0u);
  EXPECT_EQ(one.compiled, one.unshared);
  // A shorter last chunk has static graphs of its own.
  EXPECT_EQ(count_graphs(qwen, Lengths{256, 256, 64}).compiled, 2u * 120 + 3 * 24);
  EXPECT_EQ(ModelSizes(*graph::find_shape("phi-2")).layer_weights(), 4u * 2560 * 2560 + 2u * 2560 * 10240);
}

TEST(Chunks, AreDescribed) {
  const ModelSizes qwen(*graph::find_shape("qwen1.5-1.8b"));
  const ChunkPlan plan = plan_chunks(1000, 256, linear(300));
  const GraphCount count = count_graphs(qwen, plan.lengths);
  const std::string text = describe_graphs(plan, count);
  EXPECT_NE(text.find("1000 tokens: 4 chunks of 256, 24 tokens of padding"), std::string::npos) << text;
  EXPECT_NE(text.find("144 (120 shared"), std::string::npos) << text;
  const auto json = graphs_to_json(plan, count);
  EXPECT_EQ(json["chunk_shared"], 120);
  EXPECT_EQ(json["lengths"], (Lengths{256, 256, 256, 256}));
  EXPECT_EQ(json["saved_bytes"], count.unshared_bytes - count.bytes);
}

}  // namespace
}  // namespace cairn::offload
