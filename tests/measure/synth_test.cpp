#include "measure/synth.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "formats/gguf.hpp"
#include "formats/random_blocks.hpp"
#include "formats/support.hpp"
#include "formats/synth_vocabulary.hpp"
#include "graph/graph.hpp"
#include "graph/model_shapes.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/kernels.hpp"
#include "text/tokenizer.hpp"

namespace cairn::measure {
namespace {

struct Published {
  const char* shape;
  uint64_t weights;
};
void PrintTo(const Published& published, std::ostream* out) {
  *out << published.shape;
}

// Numbers of parameters of the published checkpoints.
constexpr Published kPublished[] = {
    {"qwen1.5-1.8b", 1'836'828'672},   {"qwen3-0.6b", 596'049'920},   {"gemma-2b", 2'506'172'416},
    {"phi-2", 2'779'683'840},          {"llama-2-7b", 6'738'415'616}, {"mistral-7b", 7'241'732'096},
    {"qwen3-30b-a3b", 30'532'122'624}, {"qwen3.5-0.8b", 752'393'024}, {"granite-4.0-h-micro", 3'191'396'096},
};
// Whose fewest layers are still more than a test should write.
constexpr Published kLarge[] = {
    {"granite-4.0-h-tiny", 6'939'037'248},
    {"nemotron-nano-9b-v2", 8'888'227'328},
    {"nemotron-3-nano-30b-a3b", 31'577'940'288},
};

// A model of one layer and a small vocabulary unless told otherwise: the suite writes little.
constexpr uint32_t kVocabulary = 2000;
SynthReport make(const std::string& shape, Encoding encoding, const std::string& path, uint32_t layers = 1,
                 uint64_t seed = 0) {
  uint64_t last = 0, total = 0;
  const SynthReport report =
      synthesize({shape, encoding, seed, layers, kVocabulary}, path, [&](uint64_t done, uint64_t all) {
        EXPECT_GT(done, last);
        last = done;
        total = all;
      });
  EXPECT_EQ(last, total);
  EXPECT_EQ(last, report.bytes);
  return report;
}

class SynthShape : public testing::TestWithParam<Published> {};

TEST_P(SynthShape, SizesMatchThePublishedModel) {
  EXPECT_EQ(synth_report({GetParam().shape, Encoding::f16, 0, 0, 0}).elements, GetParam().weights);
}

TEST(Synth, SizesOfLargeShapesMatchThePublishedModels) {
  for (const Published& published : kLarge)
    EXPECT_EQ(synth_report({published.shape, Encoding::f16, 0, 0, 0}).elements, published.weights);
}

TEST_P(SynthShape, GraphAndTokenizerLoadIt) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "out.gguf";
  const graph::ModelShape& shape = *graph::find_shape(GetParam().shape);
  const uint32_t layers = std::max(1U, shape.attention_interval);
  const SynthReport report = make(GetParam().shape, Encoding::q3_k, path, layers);
  const gguf::File file(path);
  uint64_t elements = 0, bytes = 0;
  for (const gguf::Tensor& tensor : file.tensors()) {
    elements += tensor.elements();
    bytes += tensor.data.size();
    const bool matrix = tensor.shape.size() > 1;
    const bool kept = tensor.name.find("ffn_gate_inp") != std::string_view::npos ||  // a router
                      tensor.name.find("ssm_conv1d") != std::string_view::npos ||
                      tensor.name.ends_with("ssm_a") || tensor.name.ends_with("ssm_d") ||
                      tensor.name.ends_with("_norm.weight");
    EXPECT_EQ(tensor.encoding,
              matrix && !kept ? fitting_encoding(Encoding::q3_k, tensor.shape[0]) : Encoding::f32)
        << tensor.name;
  }
  EXPECT_EQ(file.tensors().size(), report.tensors);
  EXPECT_EQ(elements, report.elements);
  EXPECT_EQ(bytes, report.bytes);

  const graph::Model model = graph::load(file);
  EXPECT_EQ(model.parameters.layers, layers);
  EXPECT_EQ(model.parameters.embedding, shape.embedding);
  EXPECT_EQ(model.parameters.ffn, shape.ffn);
  EXPECT_EQ(model.parameters.heads, shape.heads);
  EXPECT_EQ(model.parameters.kv_heads, shape.kv_heads);
  EXPECT_EQ(model.parameters.head_size, shape.head_size);
  EXPECT_EQ(model.parameters.vocabulary, kVocabulary);
  EXPECT_EQ(model.parameters.tied_output, shape.tied);
  EXPECT_EQ(model.parameters.rope.dims, shape.rope_dims);
  EXPECT_EQ(model.parameters.rope.base, shape.rope_base);
  EXPECT_EQ(model.parameters.norm_epsilon, shape.norm_epsilon);

  const auto tokenizer = text::make_tokenizer(file);
  EXPECT_EQ(tokenizer->vocabulary(), kVocabulary);
  const std::string text = "the stones, a cairn of 石 and 7 more\n";
  const auto tokens = tokenizer->encode(text);
  EXPECT_LT(tokens.size(), text.size());  // merges apply
  EXPECT_EQ(tokenizer->decode(tokens), text);
}

INSTANTIATE_TEST_SUITE_P(Synth, SynthShape, testing::ValuesIn(kPublished), [](const auto& p) {
  std::string name = p.param.shape;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
});

TEST(Synth, SeedDecidesTheBytes) {
  const test::TemporaryFolder folder;
  make("phi-2", Encoding::q2_k, folder / "a", 1, 5);
  make("phi-2", Encoding::q2_k, folder / "b", 1, 5);
  make("phi-2", Encoding::q2_k, folder / "c", 1, 6);
  const std::string a = test::read_file(folder / "a");
  EXPECT_TRUE(a == test::read_file(folder / "b"));
  EXPECT_FALSE(a == test::read_file(folder / "c"));
}

TEST(Synth, KQuantsFallBackWhereRowsDoNotFit) {
  const test::TemporaryFolder folder;
  const SynthReport report = make("qwen1.5-1.8b", Encoding::q4_k, folder / "out.gguf", 2);
  EXPECT_EQ(report.fallbacks, 2U);  // the down projection of each layer: 5,504 = 21.5 * 256
  EXPECT_EQ(report.fallback, Encoding::q5_0);
  const gguf::File file(folder / "out.gguf");
  EXPECT_EQ(file.tensor("blk.1.ffn_down.weight").encoding, Encoding::q5_0);
  EXPECT_EQ(file.tensor("blk.1.ffn_up.weight").encoding, Encoding::q4_k);
  EXPECT_EQ(file.tensor("token_embd.weight").encoding, Encoding::q4_k);
  EXPECT_EQ(fitting_encoding(Encoding::q5_k, 5504), Encoding::q5_1);
  EXPECT_EQ(fitting_encoding(Encoding::q6_k, 5504), Encoding::q8_0);
  EXPECT_EQ(fitting_encoding(Encoding::q2_k, 5504), Encoding::iq4_nl);
  EXPECT_EQ(fitting_encoding(Encoding::q3_k, 5504), Encoding::iq4_nl);
  EXPECT_EQ(fitting_encoding(Encoding::iq4_xs, 5504), Encoding::iq4_nl);
  EXPECT_EQ(fitting_encoding(Encoding::q8_0, 5504), Encoding::q8_0);
}

TEST(Synth, BadOptions) {
  const test::TemporaryFolder folder;
  const auto ignore = [](uint64_t, uint64_t) {};
  test::expect_error(
      [&] {
        synthesize({"gpt-5", Encoding::q4_0, 0, 0, 0}, folder / "x", ignore);
      },
      ErrorCode::invalid_argument, {"'gpt-5'"});
  test::expect_error(
      [&] {
        synthesize({"gemma-2b", Encoding::q4_0, 0, 19, 0}, folder / "x", ignore);
      },
      ErrorCode::invalid_argument, {"gemma-2b has 18 layers", "19"});
  test::expect_error(
      [&] {
        synthesize({"qwen3.5-0.8b", Encoding::q4_0, 0, 3, 0}, folder / "x", ignore);
      },
      ErrorCode::invalid_argument, {"qwen3.5-0.8b needs 4 layers", "3 are too few"});
  test::expect_error(
      [&] {
        synthesize({"phi-2", Encoding::q4_0, 0, 1, 0}, "/dev/full", ignore);
      },
      ErrorCode::io, {"/dev/full"});
  EXPECT_TRUE(folder.empty());
}

TEST(SynthVocabulary, TokensAreDistinctAndMergesBuildThem) {
  const SynthVocabulary v = synth_vocabulary(30'000);
  ASSERT_EQ(v.tokens.size(), 30'000U);
  ASSERT_EQ(v.types.size(), 30'000U);
  const std::set<std::string> distinct(v.tokens.begin(), v.tokens.end());
  EXPECT_EQ(distinct.size(), v.tokens.size());
  EXPECT_EQ(v.types[v.end], 3);
  for (const std::string& merge : v.merges) {
    const size_t blank = merge.find(' ');
    ASSERT_NE(blank, std::string::npos);
    ASSERT_TRUE(distinct.contains(merge.substr(0, blank))) << merge;
    ASSERT_TRUE(distinct.contains(merge.substr(blank + 1))) << merge;
    ASSERT_TRUE(distinct.contains(merge.substr(0, blank) + merge.substr(blank + 1))) << merge;
  }
}

class RandomEncoding : public testing::TestWithParam<EncodingInfo> {};

TEST_P(RandomEncoding, HasMeanZeroAndTheWantedDeviation) {
  const EncodingInfo& e = GetParam();
  constexpr size_t kElements = size_t{1} << 20;
  std::vector<std::byte> blocks(kElements / e.block_elements * e.block_bytes);
  RandomBlocks(3).fill(e.encoding, blocks);
  std::vector<float> values(kElements);
  kernels::kernel_set(kernels::Target::portable)
      .encoding(e.encoding)
      .dequantize(blocks.data(), kElements, values.data());
  double sum = 0, squares = 0;
  float largest = 0;
  for (const float v : values) {
    ASSERT_TRUE(std::isfinite(v));
    sum += v;
    squares += double{v} * v;
    largest = std::max(largest, std::fabs(v));
  }
  const double deviation = std::sqrt(squares / kElements);
  EXPECT_NEAR(sum / kElements, 0, 0.03 * deviation);
  EXPECT_NEAR(deviation, RandomBlocks::kDeviation, 0.15 * RandomBlocks::kDeviation);
  EXPECT_LT(largest, 8 * RandomBlocks::kDeviation);
}

INSTANTIATE_TEST_SUITE_P(Synth, RandomEncoding, testing::ValuesIn(encodings().begin(), encodings().end()),
                         [](const auto& p) { return std::string(p.param.name); });

}  // namespace
}  // namespace cairn::measure
