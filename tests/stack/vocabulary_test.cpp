// What errors of the embedding and the output head are predicted to cost, against what they cost.
#include "stack/vocabulary.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include "llm/model.hpp"
#include "measure/evaluate.hpp"
#include "stack/encode.hpp"
#include "stack/importance.hpp"
#include "stack/restore.hpp"
#include "stack/small_stack.hpp"

namespace cairn::stack {
namespace {

constexpr uint32_t kWindow = 64, kWindows = 6;

class Vocabulary : public SmallStack {
 protected:
  // KL from one file's predictions to another's, nats a token.
  static double divergence(const std::string& from, const std::string& to, engine::Precision precision) {
    ThreadPool pool(1);
    const auto a = llm::Model::load(path(from)), b = llm::Model::load(path(to));
    const engine::Options options{.context = kWindow, .threads = 1, .chunk = kWindow, .precision = precision};
    const auto reference = a->make_engine(options), engine = b->make_engine(options);
    const auto windows = measure::evaluation_windows(*a->tokenizer(), text_, kWindow, kWindows);
    return measure::Evaluator(*engine, pool).agreement(*reference, windows).mean_kl;
  }
};

TEST_F(Vocabulary, CostsWhatNoiseCosts) {
  constexpr float kNoise = 0.004f;
  cairn::testing::write_small_llama(path("noisy.gguf"), {.embedding_noise = kNoise});
  ThreadPool pool(1);
  const auto model = llm::Model::load(path("model.gguf"));
  const graph::Model graph = graph::load(model->file());
  const auto sources = vocabulary_sources(model->file(), graph);
  ASSERT_EQ(sources.size(), 1u) << "tied";
  const auto windows = measure::evaluation_windows(*model->tokenizer(), text_, kWindow, kWindows);
  VocabularyCollector collector(graph, pool);
  const Differentiator::Ends ends = collector.ends();
  measure_importance(
      model->file(), graph, windows, pool, [](uint64_t, uint64_t) {}, &ends);
  const VocabularyCost cost = collector.cost(sources.front(), windows);
  EXPECT_NEAR(std::accumulate(cost.importance.begin(), cost.importance.end(), 0.0), 1, 1e-4);
  double trace = 0;
  const size_t width = sources.front().tensor->row_elements();
  for (size_t i = 0; i < width; ++i) trace += static_cast<double>(cost.moments[i * width + i]);
  const double predicted = 0.5 * trace * static_cast<double>(kNoise * kNoise);
  const double found = divergence("model.gguf", "noisy.gguf", engine::Precision::f32);
  EXPECT_GT(found, 0.7 * predicted);
  EXPECT_LT(found, 1.4 * predicted);
  // The text's words are looked up; most of the vocabulary never is.
  const size_t seen = static_cast<size_t>(windows[0][5]);
  size_t below = 0;
  for (const float other : cost.importance) below += other < cost.importance[seen] ? 1 : 0;
  EXPECT_GT(below, cost.importance.size() * 3 / 4);
}

TEST_F(Vocabulary, AsPlanesRunsLikeWhatItRestores) {
  EncodeOptions options;
  options.threads = 1;
  options.windows = kWindows;
  options.window = kWindow;
  options.importance_windows = 2;
  options.embeddings = Embeddings::planes;
  options.fit.sweeps = 1;
  const auto report = encode("stack.gguf", options);
  EXPECT_EQ(report.matrices, 15u);
  const Reader reader(path("stack.gguf"));
  EXPECT_EQ(reader.file().find_tensor("token_embd.weight"), nullptr) << "not stored twice";
  ThreadPool pool(1);
  const size_t half = reader.present() / 2 + reader.layout().base_blocks / 2;
  write_prefix(reader, half, path("half.gguf"));
  write_restored(reader, half, path("restored.gguf"), pool);
  // The stack's activations are rounded to 8 bits, those of the other are not.
  EXPECT_LT(divergence("restored.gguf", "half.gguf", engine::Precision::standard), 2e-3);
  const double coarse = divergence("model.gguf", "half.gguf", engine::Precision::f32);
  EXPECT_LT(divergence("model.gguf", "stack.gguf", engine::Precision::f32), coarse / 2);
}

TEST_F(Vocabulary, AutomaticallyAsPlanesOnlyWhereItIsMostOfTheModel) {
  EncodeOptions options;
  options.threads = 1;
  options.windows = 0;
  options.fit.sweeps = 0;
  // 38,400 weights in f32 outweigh 180,224 others at 3 bits.
  encode_stack(*llm::Model::load(path("model.gguf")), "", options, path("auto.gguf"));
  EXPECT_EQ(read_layout(gguf::File(path("auto.gguf"))).matrices.back().name, "token_embd.weight");
  options.embeddings = Embeddings::keep;
  encode_stack(*llm::Model::load(path("model.gguf")), "", options, path("kept.gguf"));
  EXPECT_EQ(read_layout(gguf::File(path("kept.gguf"))).matrices.size(), 14u);
}

// At 4.5 bits a weight, seven planes of everything take more than the source.
TEST_F(Vocabulary, AStackOfEverythingIsNoLargerThanItsSource) {
  cairn::testing::write_small_llama(path("q4.gguf"),
                                    {.embedding = 256, .ffn = 512, .vocabulary = 2000, .q4_0 = true});
  const auto model = llm::Model::load(path("q4.gguf"));
  EncodeOptions options;
  options.threads = 2;
  options.windows = 0;
  options.fit.sweeps = 0;
  const uint64_t source = model->file().file_bytes();
  const EncodeReport report = encode_stack(*model, "", options, path("within.gguf"));
  EXPECT_LE(report.file_bytes, source);
  EXPECT_GT(report.file_bytes + 2000 * 256 / 8, source) << "another of the vocabulary's planes fits";
  const Layout layout = read_layout(gguf::File(path("within.gguf")));
  EXPECT_EQ(layout.matrices.back().name, "token_embd.weight");
  options.exact = true;
  EXPECT_GT(encode_stack(*model, "", options, path("exact.gguf")).file_bytes, source);
}

// A fuzzer's seed: nothing reaches its vocabulary, and nothing has a gradient.
TEST_F(Vocabulary, OfAModelOfZerosCostsNothing) {
  const auto model =
      llm::Model::load(std::string(CAIRN_TEST_DATA) + "/../../fuzz/corpus/model/llama-bpe.gguf");
  EncodeOptions all = options();
  all.embeddings = Embeddings::planes;
  encode_stack(*model, text_, all, path("zeros.gguf"));
  const Reader reader(path("zeros.gguf"));
  EXPECT_EQ(reader.present(), reader.layout().blocks.size());
  for (const Block& block : reader.layout().blocks) EXPECT_EQ(block.loss, 0);
}

}  // namespace
}  // namespace cairn::stack
