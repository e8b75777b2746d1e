// Slice::hidden: the head's product with it, in double precision, is transformers' logits.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "backends/cpu/engine.hpp"
#include "base/half.hpp"
#include "graph/golden_models.hpp"

namespace cairn::cpu {
namespace {

using engine::Logits;

// The tensor's values, which are of 16 or 32 bits in the golden models.
std::vector<float> floats(const gguf::File& file, const char* name, size_t count) {
  const gguf::Tensor* tensor = file.find_tensor(name);
  if (tensor == nullptr) return {};
  if (tensor->data.size() == count * sizeof(float)) return graph::golden_floats(file, name);
  std::vector<uint16_t> halves(count);
  EXPECT_EQ(tensor->data.size(), count * sizeof(uint16_t));
  std::memcpy(halves.data(), tensor->data.data(), count * sizeof(uint16_t));
  std::vector<float> values;
  for (const uint16_t half : halves) values.push_back(from_half(half));
  return values;
}

class Hidden : public testing::TestWithParam<const char*> {};

TEST_P(Hidden, TimesTheHeadIsTheLogitsOfTransformers) {
  const gguf::File file(graph::golden_model_path(GetParam()));
  const graph::Golden golden(GetParam());
  const auto engine = make_engine(
      file,
      {.context = graph::kGoldenContext, .threads = 2, .chunk = 64, .precision = engine::Precision::f32});
  const graph::HyperParameters& p = engine->model().parameters;
  const size_t width = p.embedding, all = golden.tokens.size();
  std::vector<float> head = floats(file, "output.weight", p.vocabulary * width);
  if (head.empty()) head = floats(file, "token_embd.weight", p.vocabulary * width);
  const std::vector<float> bias = floats(file, "output.bias", p.vocabulary);

  std::vector<float> whole(all * width), pieces(all * width), logits(p.vocabulary), with(p.vocabulary);
  const auto sequence = engine->make_sequence(), other = engine->make_sequence();
  const std::span<const int32_t> tokens = golden.tokens;
  for (size_t at = 0; at < all; at += 64) {
    const auto piece = tokens.subspan(at, std::min<size_t>(64, all - at));
    engine->step({sequence.get(), piece, Logits::last, with.data(), 0, whole.data() + at * width});
  }
  for (size_t at = 0; at < all; at += 4) {  // as rows
    const auto piece = tokens.subspan(at, std::min<size_t>(4, all - at));
    const auto wanted = at % 8 == 0 ? Logits::none : Logits::last;
    engine->step({other.get(), piece, wanted, logits.data(), 0, pieces.data() + at * width});
  }
  const auto plain = engine->make_sequence();
  for (size_t at = 0; at < all; at += 64)
    engine->step(
        {plain.get(), tokens.subspan(at, std::min<size_t>(64, all - at)), Logits::last, logits.data()});
  EXPECT_EQ(with, logits);  // logits beside them are those without

  for (const std::vector<float>& states : {whole, pieces}) {
    for (size_t i = 0; i < golden.positions.size(); ++i) {
      const float* state = states.data() + static_cast<size_t>(golden.positions[i]) * width;
      for (size_t token = 0; token < p.vocabulary; ++token) {
        double sum = bias.empty() ? 0 : bias[token];
        for (size_t f = 0; f < width; ++f) sum += static_cast<double>(head[token * width + f]) * state[f];
        sum *= p.logit_scale;
        if (p.logit_softcap > 0) sum = p.logit_softcap * std::tanh(sum / p.logit_softcap);
        ASSERT_NEAR(sum, golden.logits[i * golden.vocabulary + token], 3e-3)
            << golden.positions[i] << " " << token;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Hidden, testing::ValuesIn(graph::kGoldenModels),
                         [](const auto& tested) { return std::string(tested.param); });

}  // namespace
}  // namespace cairn::cpu
