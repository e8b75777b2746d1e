// Embeddings: pooled here once more, in double precision, from the hidden states that C++ hands out.
#include <cmath>

#include "support.hpp"

namespace cairn::capi {
namespace {

class CapiEmbed : public Capi {
 protected:
  std::vector<float> embed(const cairn_embed_options* options) {
    const auto text = tokens(kText);
    float* vector = nullptr;
    size_t size = 0;
    EXPECT_OK(cairn_embed(engine_, text.data(), text.size(), options, &vector, &size, error));
    std::vector<float> result(vector, vector + size);
    cairn_free(vector);
    return result;
  }

  // [tokens][width]
  std::vector<float> states() {
    std::vector<float> all;
    llm::GenerateOptions options;
    options.max_tokens = 0;
    options.prompt_states = [&](size_t, std::span<const float> piece) {
      all.insert(all.end(), piece.begin(), piece.end());
    };
    expected(tokens(kText), options);
    return all;
  }

  static constexpr size_t kWidth = 64;
};

TEST_F(CapiEmbed, IsTheMeanOrTheLastStateOfLengthOne) {
  const auto all = states();
  const size_t count = all.size() / kWidth;
  ASSERT_EQ(count, tokens(kText).size());
  for (const int32_t pooling : {CAIRN_POOLING_MODEL, CAIRN_POOLING_MEAN, CAIRN_POOLING_LAST}) {
    for (const uint32_t dimensions : {0u, 10u}) {
      for (const int32_t normalize : {1, 0}) {
        const size_t width = dimensions == 0 ? kWidth : dimensions;
        std::vector<double> sum(width);
        for (size_t t = pooling == CAIRN_POOLING_LAST ? count - 1 : 0; t < count; ++t) {
          for (size_t i = 0; i < width; ++i) sum[i] += all[t * kWidth + i];
        }
        double length = pooling == CAIRN_POOLING_LAST ? 1 : static_cast<double>(count);
        if (normalize == 1) {
          length = 0;
          for (const double x : sum) length += x * x;
          length = std::sqrt(length);
        }
        cairn_embed_options options;
        cairn_embed_options_init(&options, sizeof options);
        EXPECT_EQ(options.normalize, 1);
        options.pooling = pooling;
        options.dimensions = dimensions;
        options.normalize = normalize;
        const auto got = embed(&options);
        ASSERT_EQ(got.size(), width);
        for (size_t i = 0; i < width; ++i)
          EXPECT_NEAR(got[i], sum[i] / length, 1e-5 * (1 + std::abs(got[i])));
      }
    }
  }
  EXPECT_EQ(embed(nullptr).size(), kWidth);
}

TEST_F(CapiEmbed, WhatCannotBeIsRefused) {
  float* vector = nullptr;
  size_t size = 7;
  const int32_t tokens[] = {1, 2};
  cairn_embed_options options;
  const auto embed = [&](auto change, cairn_error* error) {
    cairn_embed_options_init(&options, sizeof options);
    change();
    return cairn_embed(engine_, tokens, 2, &options, &vector, &size, error);
  };
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "pooling: 9", embed([&] { options.pooling = 9; }, error));
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "dimensions: 65", embed([&] { options.dimensions = 65; }, error));
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "empty text",
                 cairn_embed(engine_, nullptr, 0, nullptr, &vector, &size, error));
  const std::vector<int32_t> longer(kContext + 1, 5);
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "129",
                 cairn_embed(engine_, longer.data(), longer.size(), nullptr, &vector, &size, error));
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "vector is NULL",
                 cairn_embed(engine_, tokens, 2, nullptr, nullptr, &size, error));
  EXPECT_EQ(vector, nullptr);
  EXPECT_EQ(size, 0u);
}

}  // namespace
}  // namespace cairn::capi
