#include "offload/simulated/forms.hpp"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>

#include "graph/model_shapes.hpp"
#include "offload/simulated/times.hpp"

namespace cairn::offload {
namespace {

using simulated::Phone;
using simulated::PhoneConstants;
using simulated::Product;
using simulated::WeightGroups;

constexpr std::array<Form, 5> kAll = {Form::products, Form::subgraphs, Form::layers8, Form::layers16,
                                      Form::layers_float};

const PhoneConstants& phone() {
  return *simulated::find_phone("snapdragon-8gen3");
}

// Two heads of 4 and one for keys and values: widths 8, 8 and 4; 3 layers.
ModelSizes small(bool gated = true) {
  ModelSizes sizes(*graph::find_shape("qwen1.5-1.8b"));
  sizes.layers = 3, sizes.embedding = 6, sizes.ffn = 20, sizes.heads = 2, sizes.query = 8, sizes.kv = 4;
  sizes.gated = gated;
  return sizes;
}

TEST(Forms, CountWhatCrosses) {
  // A token's bytes in a layer. qkv: 6 in, 2 · (8 + 2 · 4) out; output: 8 in, 2 · 6 out; gate, up: 6 in,
  // 2 · 2 · 20 out; down: 20 in, 2 · 6 out.
  const Crossings products = crossings(small(), Form::products, 10, 0);
  EXPECT_EQ(products.graphs, 3u * 4);
  EXPECT_EQ(products.in, 3u * 10 * (6 + 8 + 6 + 20));
  EXPECT_EQ(products.out, 3u * 10 * (32 + 12 + 80 + 12));
  // Gate's and up's results stay, as does down's input.
  const Crossings subgraphs = crossings(small(), Form::subgraphs, 10, 0);
  EXPECT_EQ(subgraphs.graphs, 3u * 3);
  EXPECT_EQ(subgraphs.in, 3u * 10 * (6 + 8 + 6));
  EXPECT_EQ(subgraphs.out, 3u * 10 * (32 + 12 + 12));
  // Hidden states both ways, keys and values of 10 tokens out, of the 30 before them in; 16 bits each.
  for (Form form : {Form::layers8, Form::layers16, Form::layers_float}) {
    const Crossings layers = crossings(small(), form, 10, 30);
    EXPECT_EQ(layers.graphs, 3u);
    EXPECT_EQ(layers.in, 3u * 2 * (10 * 6 + 30 * 8));
    EXPECT_EQ(layers.out, 3u * 2 * 10 * (6 + 8));
  }
  EXPECT_EQ(crossings(small(false), Form::products, 10, 0).out, 3u * 10 * (32 + 12 + 40 + 12));
  EXPECT_EQ(crossings(small(), Form::products, 10, 30).in, products.in);  // attention is the CPU's
}

TEST(Forms, CountAPromptsChunksTogether) {
  const std::array<uint32_t, 3> lengths = {32, 32, 16};
  for (Form form : kAll) {
    Crossings sum;
    for (const auto& [tokens, position] : {std::pair(32u, 0u), {32u, 32u}, {16u, 64u}})
      sum += crossings(small(), form, tokens, position);
    const Crossings all = crossings(small(), form, lengths);
    EXPECT_EQ(all.graphs, sum.graphs);
    EXPECT_EQ(all.in, sum.in);
    EXPECT_EQ(all.out, sum.out);
  }
}

// By hand, from made-up constants.
TEST(Forms, WholeLayersTakeTheSumOfTheirParts) {
  PhoneConstants c = phone();
  c.launch = 1, c.weight_rate = 100, c.knee_tokens = 10, c.half_flop_rate = 1000, c.half_weight_rate = 50;
  c.vector_memory_rate = 200, c.vector_exp_rate = 80, c.activation_element = 0.01;
  // Weights: 6 · (8 + 8) + 8 · 6 + 3 · 6 · 20 = 504. 20 tokens after 40: 60 are seen.
  const double products8 = 504 * (1 + 20 / 10.0) / 100, products16 = 504 * (1 + 2 * 20 / 10.0) / 100;
  const double exponentials = 20 * 60 * 2 / 80.0, activation = 20 * 20 * 0.01;
  const double elements = 20 * (6 * 6 + 6 * 6 + 2 * (8 + 4) + 3 * 60 * 2) * 2 / 200.0;
  const double rest = 1 + exponentials + elements + activation;
  EXPECT_DOUBLE_EQ(layer_seconds(c, small(), Form::layers8, 20, 40),
                   rest + products8 + 4 * 20 * 60 * 8 / 1000.0);
  EXPECT_DOUBLE_EQ(layer_seconds(c, small(), Form::layers16, 20, 40),
                   rest + products16 + 4 * 20 * 60 * 8 / 1000.0);
  EXPECT_DOUBLE_EQ(layer_seconds(c, small(), Form::layers_float, 20, 40),
                   rest + products8 + 2 * 60 * 8 / 50.0);
}

// One processor and a chain: chunk after chunk or layer after layer, it takes the sum, and nothing is idle.
TEST(Forms, WholeLayersLeaveTheCpuAlone) {
  const std::array<uint32_t, 3> lengths = {64, 64, 32};
  for (Form form : {Form::layers8, Form::layers16, Form::layers_float}) {
    const TaskGraph graph = form_tasks(phone(), small(), lengths, form, 0.85);
    double sum = 0;
    for (const auto& [tokens, position] : {std::pair(64u, 0u), {64u, 64u}, {32u, 128u}})
      sum += 3 * layer_seconds(phone(), small(), form, tokens, position);
    for (Policy policy :
         {Policy::in_order, Policy::pairs, Policy::overlap, Policy::out_of_order, Policy::look_ahead}) {
      const auto scheduler = make_scheduler(policy);
      const Timeline timeline = simulate(graph, *scheduler).timeline;
      EXPECT_NEAR(timeline.makespan(), sum, 1e-12);
      EXPECT_EQ(timeline.busy(Processor::cpu), 0);
      EXPECT_EQ(timeline.events.size(), 9u);
    }
    // Layer 1 of chunk 1 waits for layer 0 of chunk 1 and layer 1 of chunk 0.
    const auto before = graph.predecessors(4);
    EXPECT_EQ(std::set<uint32_t>(before.begin(), before.end()), (std::set<uint32_t>{1, 3}));
  }
}

// With a graph for each input, gate and up lose the activation, which the CPU takes over.
TEST(Forms, ProductsAloneMoveTheActivationToTheCpu) {
  const ModelSizes sizes(*graph::find_shape("qwen1.5-1.8b"));
  const std::array<uint32_t, 2> lengths = {256, 256};
  const TaskGraph products = form_tasks(phone(), sizes, lengths, Form::products, 1);
  const TaskGraph subgraphs = form_tasks(phone(), sizes, lengths, Form::subgraphs, 1);
  const Product up{sizes.embedding, sizes.ffn}, down{sizes.ffn, sizes.embedding};
  const Phone p(phone());
  size_t middles = 0;
  for (const Task& task : products.tasks()) {
    if (task.kind == TaskKind::ffn) {
      EXPECT_DOUBLE_EQ(task.seconds, p.npu_products(256, std::array{up, up}, WeightGroups::tensor));
    } else if (task.kind == TaskKind::ffn_down) {
      EXPECT_DOUBLE_EQ(task.seconds, p.npu_products(256, std::array{down}, WeightGroups::tensor));
    }
    if (task.kind != TaskKind::ffn_middle) continue;
    ++middles;
    EXPECT_EQ(task.processor, Processor::cpu);
    EXPECT_DOUBLE_EQ(task.seconds, p.cpu_task(0, 0, 9.0 * 256 * sizes.ffn));
  }
  EXPECT_EQ(middles, 2u * 24);
  EXPECT_EQ(products.tasks().size(), 2u * 24 * 8);
  EXPECT_EQ(subgraphs.tasks().size(), 2u * 24 * 6);
}

TEST(Forms, HaveNames) {
  std::set<std::string> names;
  for (Form form : kAll) names.insert(name(form));
  EXPECT_EQ(names.size(), static_cast<size_t>(Form::count));
  EXPECT_FALSE(whole_layers(Form::products));
  EXPECT_FALSE(whole_layers(Form::subgraphs));
  EXPECT_TRUE(whole_layers(Form::layers16));
}

}  // namespace
}  // namespace cairn::offload
