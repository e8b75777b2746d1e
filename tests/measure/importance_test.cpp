#include "measure/importance.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

#include "backends/cpu/engine.hpp"
#include "formats/small_llama.hpp"
#include "formats/support.hpp"
#include "graph/golden_models.hpp"
#include "kernels/kernel_set.hpp"
#include "measure/evaluate.hpp"
#include "quantize/calibration.hpp"
#include "quantize/collector.hpp"

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

// Each input of a layer with a recurrent state is told once, and is as wide as the rows that read it.
TEST(MeasureImportance, TellsTheInputsOfRecurrentLayersApart) {
  for (const char* name : graph::kRecurrentModels) {
    const gguf::File file(graph::golden_model_path(name));
    const graph::Model model = graph::load(file);
    std::vector<std::array<std::vector<size_t>, quantize::kInputs>> widths(model.layers.size());
    quantize::InputOrder order;
    quantize::Input last = quantize::Input::count;
    engine::Options options{.context = 32, .threads = 1, .chunk = 32};
    options.observer = [&](uint32_t layer, graph::Slot slot, const float*, size_t, size_t width) {
      // The router and the expert that all share read the same.
      if (model.parameters.shared_expert && slot == graph::Slot::normed && last == quantize::Input::gate_up)
        return;
      last = order.next(slot);
      widths[layer][static_cast<size_t>(last)].push_back(width);
    };
    const auto engine = cpu::make_engine(file, options);
    const auto sequence = engine->make_sequence();
    const std::vector<int32_t> tokens(20, 3);
    engine->step({sequence.get(), tokens});
    for (size_t layer = 0; layer < model.layers.size(); ++layer) {
      const auto linears = quantize::input_linears(model.layers[layer]);
      for (size_t input = 0; input < quantize::kInputs; ++input) {
        ASSERT_EQ(widths[layer][input].size(), 1U) << name << ' ' << layer << ' ' << input;
        EXPECT_FALSE(linears[input].empty()) << name << ' ' << layer << ' ' << input;
        for (const graph::Op* op : linears[input])
          EXPECT_EQ(widths[layer][input].front(), file.tensor(op->weight).row_elements()) << op->weight;
      }
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
