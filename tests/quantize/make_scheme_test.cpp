#include "quantize/make_scheme.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/expect_error.hpp"
#include "support.hpp"

namespace cairn::quantize {
namespace {

using testing::expect_error;

class MakeScheme : public ::testing::Test {
 protected:
  template <class Check>
  void each(const Scheme& scheme, Check check) {
    ASSERT_EQ(scheme.layers.size(), c_.layers.size());
    for (size_t layer = 0; layer < scheme.layers.size(); ++layer) {
      for (size_t input = 0; input < kInputs; ++input)
        check(scheme.layers[layer][input], c_.layers[layer][input]);
    }
  }

  TinyFile model_;
  Calibration c_ = made_up(model_.file);
};

TEST_F(MakeScheme, NaiveIsOneFixedScaleATensor) {
  const Scheme scheme = make_scheme(c_, {.method = Method::naive});
  EXPECT_EQ(scheme.weight_scale, WeightScale::tensor);
  EXPECT_EQ(scheme.float_tokens, 0U);
  each(scheme, [](const Treatment& t, const InputRecord& r) {
    EXPECT_EQ(t.scale_kind, ScaleKind::fixed);
    EXPECT_FLOAT_EQ(t.scale, r.ranges[0][0].maximum / 127);
    EXPECT_EQ(t.outliers, Outliers::clamp);
    EXPECT_FALSE(t.rotate || t.float_product);
  });
  EXPECT_EQ(make_scheme(c_, {.method = Method::naive, .weights = WeightScale::row}).weight_scale,
            WeightScale::row);
}

TEST_F(MakeScheme, FirstTokensInFloatLeaveTheirRangesOut) {
  for (const auto& [tokens, skip] : {std::pair(0u, 0), {1u, 1}, {3u, 1}, {4u, 2}, {9u, 2}}) {
    const Scheme scheme = make_scheme(c_, {.method = Method::naive, .float_tokens = tokens});
    EXPECT_EQ(scheme.float_tokens, tokens);
    each(scheme, [at = static_cast<size_t>(skip)](const Treatment& t, const InputRecord& r) {
      EXPECT_FLOAT_EQ(t.scale, r.ranges[0][at].maximum / 127);
    });
  }
}

TEST_F(MakeScheme, SmoothQuantSharesTheDifficulty) {
  c_.layers[0][0].channel_maxima[0][5] = 0;  // never seen
  const Scheme scheme = make_scheme(c_, {.method = Method::smoothquant});
  EXPECT_EQ(scheme.weight_scale, WeightScale::row);
  each(scheme, [](const Treatment& t, const InputRecord& r) {
    ASSERT_EQ(t.divisors.size(), r.weight_maxima.size());
    float most = 0;
    for (size_t k = 0; k < t.divisors.size(); ++k) {
      const float x = r.channel_maxima[0][k], w = r.weight_maxima[k];
      if (x > 0) {  // alpha 0.5: both alike
        EXPECT_NEAR(x / t.divisors[k], w * t.divisors[k], 1e-5);
      }
      most = std::max(most, x / t.divisors[k]);
    }
    EXPECT_FLOAT_EQ(t.scale, most / 127);
  });
  EXPECT_EQ(scheme.layers[0][0].divisors[5], 1);
}

TEST_F(MakeScheme, WhatNeedsNoCalibration) {
  const Scheme token = make_scheme(size_t{3}, {.method = Method::token});
  ASSERT_EQ(token.layers.size(), 3U);
  EXPECT_EQ(token.layers[2][3].scale_kind, ScaleKind::token);
  EXPECT_FALSE(token.layers[2][3].rotate);
  EXPECT_TRUE(make_scheme(size_t{3}, {.method = Method::rotation}).layers[0][0].rotate);
  const Scheme mixed = make_scheme(size_t{3}, {.method = Method::mixed});
  EXPECT_EQ(mixed.layers[1][1].outliers, Outliers::mixed);
  EXPECT_EQ(mixed.layers[1][1].threshold, 6);
  EXPECT_DOUBLE_EQ(shadow_share(mixed), 1);
  EXPECT_EQ(make_scheme(c_, {.method = Method::mixed}).fingerprint(),
            make_scheme(c_.layers.size(), {.method = Method::mixed}).fingerprint());
  for (const Method method : {Method::naive, Method::smoothquant, Method::shadow, Method::automatic}) {
    expect_error(ErrorCode::invalid_argument, "needs a calibration",
                 [&] { make_scheme(size_t{3}, {.method = method}); });
  }
  expect_error(ErrorCode::invalid_argument, "needs a calibration",
               [&] { make_scheme(size_t{3}, {.method = Method::rotation, .fixed = true}); });
}

TEST_F(MakeScheme, StaticFormsOfTokenAndRotation) {
  each(make_scheme(c_, {.method = Method::token, .fixed = true}),
       [](const Treatment& t, const InputRecord& r) {
         EXPECT_FLOAT_EQ(t.scale, r.ranges[0][0].maximum / 127);
         EXPECT_FALSE(t.rotate);
       });
  each(make_scheme(c_, {.method = Method::rotation, .fixed = true}),
       [](const Treatment& t, const InputRecord& r) {
         EXPECT_EQ(t.scale_kind, ScaleKind::fixed);
         EXPECT_FLOAT_EQ(t.scale, r.ranges[1][0].maximum / 127);
         EXPECT_TRUE(t.rotate);
       });
}

TEST_F(MakeScheme, ShadowAtAPercentile) {
  each(make_scheme(c_, {.method = Method::shadow, .threshold = 99.7}),
       [](const Treatment& t, const InputRecord& r) {
         EXPECT_EQ(t.outliers, Outliers::shadow);
         EXPECT_FLOAT_EQ(t.scale, r.ranges[0][0].percentiles[1] / 127);
       });
  each(make_scheme(c_, {.method = Method::shadow, .rotate = true}),
       [](const Treatment& t, const InputRecord& r) {
         EXPECT_TRUE(t.rotate);
         EXPECT_FLOAT_EQ(t.scale, r.ranges[1][0].percentiles[0] / 127);
       });
  expect_error(ErrorCode::invalid_argument, "it has 99, 99.7, 99.9, 99.99",
               [&] { make_scheme(c_, {.method = Method::shadow, .threshold = 98}); });
}

TEST_F(MakeScheme, PruningTakesTheLeastImportantInputs) {
  std::vector<float> importances;
  for (const auto& layer : c_.layers) {
    for (const InputRecord& r : layer) importances.push_back(r.outliers[0][0].importance);
  }
  std::sort(importances.begin(), importances.end());
  for (const double prune : {0.0, 0.5, 0.85, 1.0}) {
    const auto count = static_cast<size_t>(std::lround(prune * static_cast<double>(importances.size())));
    for (const Pruned pruned : {Pruned::clamp, Pruned::range, Pruned::rotation, Pruned::float_product}) {
      const Scheme scheme = make_scheme(c_, {.method = Method::shadow, .prune = prune, .pruned = pruned});
      size_t found = 0;
      each(scheme, [&](const Treatment& t, const InputRecord& r) {
        const bool is = !(t.outliers == Outliers::shadow) || t.float_product;
        found += is ? 1 : 0;
        if (!is) return;
        EXPECT_LE(r.outliers[0][0].importance, importances[count - 1]);
        EXPECT_EQ(t.float_product, pruned == Pruned::float_product);
        EXPECT_EQ(t.rotate, pruned == Pruned::rotation);
        if (pruned == Pruned::clamp) {
          EXPECT_FLOAT_EQ(t.scale, r.ranges[0][0].percentiles[0] / 127);
        }
        if (pruned == Pruned::range) {
          EXPECT_FLOAT_EQ(t.scale, r.ranges[0][0].maximum / 127);
        }
        if (pruned == Pruned::rotation) {
          EXPECT_EQ(t.scale_kind, ScaleKind::token);
        }
      });
      EXPECT_EQ(found, count);
      EXPECT_NEAR(shadow_share(scheme), 1 - prune, 0.5 / static_cast<double>(importances.size()) + 1e-9);
    }
  }
  expect_error(ErrorCode::invalid_argument, "prune 1.5 is not in 0 to 1",
               [&] { make_scheme(c_, {.method = Method::shadow, .prune = 1.5}); });
}

TEST_F(MakeScheme, HotChannelsAreTheMostFrequentThatFit) {
  const auto bytes = [&](const Scheme& scheme) {
    uint64_t sum = 0;
    for (const auto& layer : scheme.layers) {
      for (size_t i = 0; i < kInputs; ++i) sum += 2 * layer[i].hot.size() * c_.outputs[i];
    }
    return sum;
  };
  const Scheme scheme = make_scheme(c_, {.method = Method::shadow, .hot = 1});
  EXPECT_LE(bytes(scheme), c_.weight_bytes / 100);
  EXPECT_GT(bytes(scheme), c_.weight_bytes / 200);
  float least_hot = 1e9f, most_cold = 0;
  each(scheme, [&](const Treatment& t, const InputRecord& r) {
    EXPECT_TRUE(std::is_sorted(t.hot.begin(), t.hot.end()));
    for (uint32_t k = 0; k < r.outliers[0][0].counts.size(); ++k) {
      const float count = r.outliers[0][0].counts[k];
      if (std::binary_search(t.hot.begin(), t.hot.end(), k)) {
        least_hot = std::min(least_hot, count);
      } else {
        most_cold = std::max(most_cold, count);
      }
    }
  });
  EXPECT_GE(least_hot, most_cold);
  EXPECT_EQ(bytes(make_scheme(c_, {.method = Method::shadow, .hot = 0})), 0U);
}

TEST_F(MakeScheme, AutoSpendsTheBudgetOnCheaperForms) {
  const Scheme strict = make_scheme(c_, {.method = Method::automatic, .budget = 0.2});
  EXPECT_EQ(strict.float_tokens, 1U);
  EXPECT_EQ(strict.weight_scale, WeightScale::row);
  each(strict, [](const Treatment& t, const InputRecord&) {
    EXPECT_TRUE(t.rotate && t.scale_kind == ScaleKind::token);
  });
  // 0.001 nats in rotation; with room for half of 2 % some inputs take what is cheaper, least cost first.
  const Scheme loose = make_scheme(c_, {.method = Method::automatic, .budget = 2});
  double expected = 0.001;
  size_t cheaper = 0;
  each(loose, [&](const Treatment& t, const InputRecord& r) {
    const size_t form = t.scale_kind == ScaleKind::token          ? (t.rotate ? 4 : 2)
                        : t.rotate                                ? 3
                        : t.scale == r.ranges[0][1].maximum / 127 ? 0
                                                                  : 1;
    cheaper += form != 4 ? 1 : 0;
    expected += static_cast<double>(r.costs[form]) - static_cast<double>(r.costs[4]);
  });
  EXPECT_GT(cheaper, 0U);
  EXPECT_LE(expected, 0.5 * std::log1p(0.02) + 1e-6);
  EXPECT_DOUBLE_EQ(shadow_share(loose), 0);
  EXPECT_THAT(loose.name, ::testing::HasSubstr("first 1 in float"));
}

TEST_F(MakeScheme, AutoTakesShadowsWhereRotationIsNotEnough) {
  for (WholeCost& whole : c_.whole) {
    if (whole.form == Form::rotated_token) whole.kl = 0.0061f;
  }
  c_.layers[1][3].costs[static_cast<size_t>(Form::rotated_token)] = 0.003f;  // one input is hard
  const Scheme scheme = make_scheme(c_, {.method = Method::automatic});
  EXPECT_EQ(scheme.layers[1][3].outliers, Outliers::shadow);
  EXPECT_DOUBLE_EQ(shadow_share(scheme), 1.0 / 8);
  EXPECT_FALSE(scheme.layers[1][3].hot.empty());

  for (WholeCost& whole : c_.whole) whole.kl = 0.1f;
  expect_error(ErrorCode::invalid_argument, "no mix of forms keeps a budget of 0.6 %",
               [&] { make_scheme(c_, {.method = Method::automatic}); });
}

TEST_F(MakeScheme, AutoNeedsCosts) {
  expect_error(ErrorCode::invalid_argument, "calibrate with --float-tokens 4",
               [&] { make_scheme(c_, {.method = Method::automatic, .float_tokens = 4}); });
  c_.cost_tokens = 0;
  expect_error(ErrorCode::invalid_argument, "the calibration has none",
               [&] { make_scheme(c_, {.method = Method::automatic}); });
}

TEST(Method, NamesAreWhatUsersType) {
  for (const Method method : {Method::naive, Method::smoothquant, Method::mixed, Method::token,
                              Method::rotation, Method::shadow, Method::automatic}) {
    EXPECT_EQ(parse_method(name(method)), method);
  }
  expect_error(ErrorCode::invalid_argument, "naive, smoothquant, mixed, token, rotation, shadow, auto",
               [] { parse_method("gptq"); });
}

}  // namespace
}  // namespace cairn::quantize
