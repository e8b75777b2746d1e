// Sizes that a file may state and no model of today has.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "backends/cpu/engine.hpp"
#include "backends/cpu/pages.hpp"
#include "base/expect_error.hpp"
#include "base/temporary_folder.hpp"
#include "engine/one_sequence.hpp"
#include "formats/small_llama.hpp"
#include "kernels/static_int8.hpp"
#include "offload/cpu_accelerator.hpp"

namespace cairn::cpu {
namespace {

using engine::KvType;
using engine::Logits;
using engine::OneSequence;
using engine::Precision;

// Prefill once ran over a buffer of 1,024 elements.
TEST(LargeModel, HeadsOfAnySizeRunInPrefillAsInDecode) {
  const testing::TemporaryFolder folder;
  testing::write_small_llama(
      folder / "model.gguf",
      {.embedding = 64, .ffn = 64, .heads = 1, .kv_heads = 1, .head_size = 2048, .tokenizer = false});
  const std::vector<int32_t> tokens = {3, 5, 7, 11, 13, 17, 19, 23, 29, 31};
  for (const KvType kv : {KvType::f16, KvType::i8}) {
    OneSequence runner(
        make_engine(gguf::File(folder / "model.gguf"),
                    {.context = 16, .threads = 1, .chunk = 16, .precision = Precision::f32, .kv = kv}));
    const size_t vocabulary = runner.vocabulary();
    std::vector<float> prefill(vocabulary), decode(vocabulary);
    runner.run(tokens, 0, Logits::last, prefill.data());
    for (uint32_t i = 0; i < tokens.size(); ++i)
      runner.run(std::span(tokens).subspan(i, 1), i, Logits::last, decode.data());
    double error = 0, power = 0;
    for (size_t i = 0; i < vocabulary; ++i) {
      error += std::pow(static_cast<double>(prefill[i] - decode[i]), 2);
      power += std::pow(static_cast<double>(decode[i]), 2);
    }
    // Sums of 2,048 products in another order: 2,048 · 2^−24 of the whole in each layer. Prefill packs an i8
    // cache into 16 bits, which rounds once more by 2^−14.
    EXPECT_LT(std::sqrt(error / power), kv == KvType::i8 ? 5e-3 : 1e-3);
  }
}

// What the fuzzers begin with, a head longer than any of today among it, runs as well.
TEST(LargeModel, TheFuzzersSeedsRun) {
  size_t files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(CAIRN_TEST_DATA) + "/../../fuzz/corpus/model")) {
    SCOPED_TRACE(entry.path());
    if (entry.path().filename().string().starts_with("regression-")) continue;
    OneSequence runner(make_engine(gguf::File(entry.path()), {.context = 16, .threads = 1, .chunk = 12}));
    std::vector<int32_t> tokens = {0, 7, 3, 200, 0, 7, 3, 200, 1, 2, 4, 5};
    const graph::HyperParameters& p = runner.engine->model().parameters;
    if (!p.causal) {  // there is no head
      for (int32_t& token : tokens) token %= static_cast<int32_t>(p.vocabulary);
      std::vector<float> states(tokens.size() * p.embedding);
      runner.engine->step({runner.sequence.get(), tokens, Logits::none, nullptr, 0, states.data()});
      for (const float state : states) ASSERT_TRUE(std::isfinite(state));
      continue;
    }
    std::vector<float> logits(runner.vocabulary());
    runner.run(tokens, 0, Logits::last, logits.data());
    runner.run({&tokens[1], 1}, 12, Logits::last, logits.data());
    for (const float logit : logits) ASSERT_TRUE(std::isfinite(logit));
    ++files;
  }
  EXPECT_GE(files, 15u);
}

// Sums of int8 products would not stay within 32 bits.
TEST(LargeModel, InputsTooLongForIntegerSumsAreRefused) {
  const auto cpu = offload::make_cpu_accelerator({.threads = 1});
  const auto compile = [&](size_t k) {
    offload::Int8Graph graph;
    graph.name = "blk.0.down";
    graph.tokens = 8;
    graph.linears.push_back(
        {"ffn_down", 1, static_cast<uint32_t>(k), [](uint32_t, uint32_t, int8_t* values, float* scales) {
           *values = 0;
           *scales = 1;
         }});
    cpu->compile(graph);
  };
  compile(kernels::kMostStaticColumns);
  testing::expect_error(ErrorCode::unsupported, "ffn_down: rows of 131076 values are longer than 131072",
                        [&] { compile(kernels::kMostStaticColumns + 4); });
}

TEST(LargeModel, PagesThatGoAroundTheAddressesAreRefused) {
  graph::Model model;
  model.parameters.heads = model.parameters.kv_heads = 1u << 31;
  model.parameters.head_size = 1u << 31;
  testing::expect_error(ErrorCode::out_of_memory, "more bytes than there are addresses",
                        [&] { PageLayout(model, kernels::KvFormat::f32); });
}

}  // namespace
}  // namespace cairn::cpu
