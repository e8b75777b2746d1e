#include "measure/importance.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "backends/cpu/engine.hpp"
#include "formats/small_llama.hpp"
#include "formats/support.hpp"
#include "graph/golden_models.hpp"
#include "graph/reference_interpreter.hpp"
#include "kernels/kernel_set.hpp"
#include "measure/column_squares.hpp"
#include "measure/evaluate.hpp"

namespace cairn::measure {
namespace {

std::string words(int count) {
  std::string text;
  for (int i = 0; i < count; ++i)
    text += "the cat sat on that mat and then " + std::to_string(i * 7919) + " ";
  return text;
}

std::vector<float> row(const gguf::Tensor& tensor, uint64_t index) {
  std::vector<float> x(tensor.row_elements());
  kernels::kernel_set(kernels::Target::portable)
      .encoding(tensor.encoding)
      .dequantize(tensor.data.data() + index * tensor.row_bytes(), x.size(), x.data());
  return x;
}

// What the first layer's queries, keys and values read follows from the embedding and the norm alone.
TEST(MeasureImportance, IsTheMeanSquareOfEachColumnsActivations) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "model.gguf", text = words(60);
  testing::write_small_llama(path);
  const auto model = llm::Model::load(path);
  ImportanceOptions options;
  options.threads = 1;
  options.chunks = 3;
  options.chunk = 64;
  uint64_t last = 0;
  const encode::Importance importance =
      measure_importance(*model, text, options, [&](uint64_t done, uint64_t) { last = done; });
  EXPECT_EQ(last, 3U);
  EXPECT_EQ(importance.chunks, 3U);
  EXPECT_EQ(importance.chunk_tokens, 64U);
  EXPECT_EQ(importance.columns.size(), 14U);  // seven matrices a layer
  EXPECT_EQ(importance.find("token_embd.weight"), nullptr);
  EXPECT_EQ(importance.find("blk.1.ffn_down.weight")->size(), 192U);

  const gguf::Tensor& embedding = model->file().tensor("token_embd.weight");
  std::vector<double> sums(embedding.row_elements());
  for (const auto& window : evaluation_windows(*model->tokenizer(), text, 64, 3)) {
    for (const text::Token token : window) {
      const std::vector<float> x = row(embedding, static_cast<uint64_t>(token));
      double squares = 0;
      for (const float v : x) squares += static_cast<double>(v) * static_cast<double>(v);
      const double scale = 1 / (squares / static_cast<double>(x.size()) + 1e-5);  // norms are all 1
      for (size_t c = 0; c < x.size(); ++c)
        sums[c] += scale * static_cast<double>(x[c]) * static_cast<double>(x[c]);
    }
  }
  for (const char* name : {"blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight"}) {
    const std::vector<float>& found = *importance.find(name);
    ASSERT_EQ(found.size(), sums.size());
    for (size_t c = 0; c < sums.size(); ++c)
      EXPECT_NEAR(static_cast<double>(found[c]), sums[c] / (3 * 64), 2e-3 * sums[c] / (3 * 64))
          << name << " " << c;
  }
}

// Of every family, every product: what the reference interpreter has multiplied each column with.
TEST(MeasureImportance, TellsTheInputsOfAllFamiliesApart) {
  for (const char* name : graph::kGoldenModels) {
    const gguf::File file(graph::golden_model_path(name));
    const graph::Model model = graph::load(file, graph::kGoldenContext);
    const graph::Golden golden(name);
    ThreadPool pool(2);
    ColumnSquares squares(model, pool);
    engine::Options options{.context = graph::kGoldenContext, .threads = 1};
    options.precision = engine::Precision::f32;
    options.observer = [&](uint32_t layer, graph::Slot slot, const float* rows, size_t tokens, size_t width) {
      squares.add(layer, slot, rows, tokens, width);
    };
    const auto engine = cpu::make_engine(file, options);
    const auto sequence = engine->make_sequence();
    engine->step({sequence.get(), golden.tokens});
    const auto found = squares.means(name, golden.tokens.size());

    graph::ReferenceInterpreter reference(file, graph::kGoldenContext);
    reference.run(golden.tokens);
    for (const auto& [matrix, expected] : reference.mean_squares()) {
      if (!matrix.starts_with("blk.")) continue;  // the head's
      ASSERT_TRUE(found.contains(matrix)) << name << ' ' << matrix;
      const std::vector<float>& means = found.find(matrix)->second;
      ASSERT_EQ(means.size(), expected.size()) << name << ' ' << matrix;
      for (size_t c = 0; c < means.size(); ++c)
        ASSERT_NEAR(static_cast<double>(means[c]), expected[c], 2e-3 * expected[c] + 1e-4)
            << name << ' ' << matrix << ' ' << c;
    }
  }
}

TEST(MeasureImportance, WantsOneChunkOfText) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "model.gguf";
  testing::write_small_llama(path);
  const auto model = llm::Model::load(path);
  test::expect_error([&] { measure_importance(*model, "a few words", {}); }, ErrorCode::invalid_argument,
                     {"512"});
}

}  // namespace
}  // namespace cairn::measure
