// Prefill's product against a double-precision sum over what the quantised operands stand for, on every
// instruction set of this processor.
#include "kernels/gemm.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace cairn::kernels {
namespace {

struct Panel {
  Panel(size_t rows, size_t k)
      : values(rows * k), corrections(rows * k / 32), scales(rows * k / 32), offsets(rows * k / 32) {}
  WeightPanel view() { return {values.data(), corrections.data(), scales.data(), offsets.data()}; }
  std::vector<int8_t> values;
  std::vector<int32_t> corrections;
  std::vector<float> scales, offsets;
};

struct Tile {
  Tile(const GemmKernels& gemm, const std::vector<float>& x, size_t k)
      : lanes(gemm.tile_tokens), values(k * lanes), scales(k / 32 * lanes), sums(k / 32 * lanes) {
    gemm.quantize_tile(x.data(), k, view());
  }
  ActivationTile view() { return {values.data(), scales.data(), sums.data()}; }
  double at(size_t k, size_t lane) const {
    return static_cast<double>(scales[k / 32 * lanes + lane]) *
           (values[(k / 4 * lanes + lane) * 4 + k % 4] - 128);
  }
  size_t lanes;
  std::vector<uint8_t> values;
  std::vector<float> scales, sums;
};

std::vector<float> random_floats(size_t n, uint32_t seed, float range = 1) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-range, range);
  std::vector<float> x(n);
  for (float& v : x) v = uniform(random);
  return x;
}

// Largest |out − Σ weight · activation| over Σ |weight · activation|.
template <class Weight>
double product_error(const GemmKernels& gemm, PanelForm form, Panel& panel, size_t rows, size_t k, Tile& tile,
                     const Weight& weight) {
  std::vector<float> out(rows * gemm.tile_tokens, NAN);
  gemm.multiply(form, panel.view(), rows, k, tile.view(), out.data());
  double worst = 0;
  for (size_t r = 0; r < rows; ++r) {
    for (size_t lane = 0; lane < gemm.tile_tokens; ++lane) {
      double sum = 0, size = 1e-30;
      for (size_t i = 0; i < k; ++i) {
        const double product = weight(r, i) * tile.at(i, lane);
        sum += product;
        size += std::abs(product);
      }
      const double error = std::abs(out[r * gemm.tile_tokens + lane] - sum) / size;
      worst = std::isnan(error) ? INFINITY : std::max(worst, error);
    }
  }
  return worst;
}

class Gemm : public testing::TestWithParam<Target> {
 protected:
  const GemmKernels& gemm_ = gemm_kernels(GetParam());
};

TEST_P(Gemm, QuantizesActivationsToNearest) {
  const size_t k = 96, lanes = gemm_.tile_tokens;
  std::vector<float> x = random_floats(k * lanes, 1);
  for (size_t i = 32; i < 64; ++i) x[i * lanes + 1] = 0;  // a group of zeros
  Tile tile(gemm_, x, k);
  for (size_t lane = 0; lane < lanes; ++lane) {
    for (size_t group = 0; group < k / 32; ++group) {
      const double scale = tile.scales[group * lanes + lane];
      double sum = 0;
      for (size_t i = group * 32; i < group * 32 + 32; ++i) {
        EXPECT_LE(std::abs(tile.at(i, lane) - x[i * lanes + lane]), 0.5001 * scale);
        sum += tile.at(i, lane);
      }
      EXPECT_NEAR(tile.sums[group * lanes + lane], sum, 1e-4);
    }
  }
  EXPECT_EQ(tile.scales[lanes + 1], 0);
}

TEST_P(Gemm, MultipliesRoundedFloats) {
  for (const size_t k : {32, 64, 576, 1056, 2048, 5504}) {
    const size_t rows = 2 * gemm_.tile_rows;
    const std::vector<float> weights = random_floats(rows * k, 2);
    Panel panel(rows, k);
    for (size_t r = 0; r < rows; ++r) {
      gemm_.fill_floats(&weights[r * k], k, &panel.values[r * k], &panel.corrections[r * k / 32],
                        &panel.scales[r * k / 32]);
      for (size_t i = 0; i < k; ++i) {
        ASSERT_LE(std::abs(panel.values[r * k + i]), gemm_.most_value);
        ASSERT_LE(std::abs(panel.values[r * k + i] * panel.scales[(r * k + i) / 32] - weights[r * k + i]),
                  0.5001f * panel.scales[(r * k + i) / 32]);
      }
    }
    Tile tile(gemm_, random_floats(k * gemm_.tile_tokens, 3), k);
    EXPECT_LT(product_error(gemm_, PanelForm::values8, panel, rows, k, tile,
                            [&](size_t r, size_t i) {
                              return static_cast<double>(panel.values[r * k + i]) *
                                     panel.scales[(r * k + i) / 32];
                            }),
              1e-6)
        << k;
  }
}

// The largest sums that 16 bits have to hold: every code and activation at its end.
TEST_P(Gemm, ExtremesDoNotSaturate) {
  const size_t k = 64, rows = gemm_.tile_rows;
  for (const float sign : {1.0f, -1.0f}) {
    Panel panel(rows, k);
    const std::vector<float> weights(rows * k, sign);
    for (size_t r = 0; r < rows; ++r)
      gemm_.fill_floats(&weights[r * k], k, &panel.values[r * k], &panel.corrections[r * k / 32],
                        &panel.scales[r * k / 32]);
    for (const float x : {1.0f, -1.0f}) {
      Tile tile(gemm_, std::vector<float>(k * gemm_.tile_tokens, x), k);
      EXPECT_LT(product_error(gemm_, PanelForm::values8, panel, rows, k, tile,
                              [&](size_t, size_t) { return static_cast<double>(sign); }),
                1e-6);
    }
  }
}

TEST_P(Gemm, CodesOfFourBitsKeepTheirOffsets) {
  std::mt19937 random(4);
  for (const size_t k : {32, 96, 576, 2048}) {
    const size_t rows = gemm_.tile_rows;
    Panel panel(rows, k);
    std::vector<uint8_t> codes(rows * k);
    for (uint8_t& code : codes) code = static_cast<uint8_t>(random() % 16);
    std::vector<float> scales = random_floats(rows * k / 32, 5, 0.1f);
    std::vector<float> offsets(scales.size());
    for (size_t i = 0; i < offsets.size(); ++i) {
      // Trained files' offsets, Q4_0's −8, and a group that is all offset.
      offsets[i] = i % 3 == 0 ? -8 * scales[i] : scales[i] * (static_cast<float>(random() % 1600) / -100.0f);
    }
    const std::vector<float> scales_before = scales, offsets_before = offsets;
    const auto weight = [&](size_t r, size_t i) {
      const size_t group = (r * k + i) / 32;
      return static_cast<double>(scales_before[group]) * codes[r * k + i] + offsets_before[group];
    };
    for (size_t r = 0; r < rows; ++r) {
      std::vector<uint8_t> row(codes.begin() + static_cast<long>(r * k),
                               codes.begin() + static_cast<long>((r + 1) * k));
      gemm_.fill_codes4(k, row.data(), &scales[r * k / 32], &panel.corrections[r * k / 32],
                        &offsets[r * k / 32]);
      for (size_t i = 0; i < k; ++i) panel.values[r * k + i] = static_cast<int8_t>(row[i]);
    }
    panel.scales = scales;
    panel.offsets = offsets;
    Tile tile(gemm_, random_floats(k * gemm_.tile_tokens, 6), k);
    // In 16-bit sums exact; folded into 8-bit values the offset is rounded to a fraction of a step.
    const PanelForm form = gemm_.uses_codes4 ? PanelForm::codes4 : PanelForm::values8;
    EXPECT_LT(product_error(gemm_, form, panel, rows, k, tile, weight), gemm_.uses_codes4 ? 1e-5 : 4e-3) << k;
  }
}

TEST_P(Gemm, AGroupThatIsAllOffsetSurvives) {
  const size_t k = 32, rows = gemm_.tile_rows;
  Panel panel(rows, k);
  for (size_t r = 0; r < rows; ++r) {
    std::vector<uint8_t> codes(k, 3);
    panel.scales[r] = r % 2 == 0 ? 0.0f : 1e-4f;
    panel.offsets[r] = 5.0f;
    gemm_.fill_codes4(k, codes.data(), &panel.scales[r], &panel.corrections[r], &panel.offsets[r]);
    for (size_t i = 0; i < k; ++i) panel.values[r * k + i] = static_cast<int8_t>(codes[i]);
  }
  Tile tile(gemm_, std::vector<float>(k * gemm_.tile_tokens, 1.0f), k);
  const PanelForm form = gemm_.uses_codes4 ? PanelForm::codes4 : PanelForm::values8;
  EXPECT_LT(product_error(gemm_, form, panel, rows, k, tile, [](size_t, size_t) { return 5.0; }), 5e-3);
}

// Whatever scales and offsets a file has, nothing is read or written elsewhere, and corrections are those of
// the values.
TEST_P(Gemm, ScalesThatAreNoNumbersDoNoHarm) {
  const std::vector<float> odd = {NAN, INFINITY, -INFINITY, 0.0f, 1e30f, 6e-8f, -1.0f};
  const size_t groups = odd.size() * odd.size(), k = groups * 32;
  std::vector<uint8_t> codes(k);
  for (size_t i = 0; i < k; ++i) codes[i] = static_cast<uint8_t>(i % 16);
  std::vector<float> scales(groups), offsets(groups);
  for (size_t g = 0; g < groups; ++g) scales[g] = odd[g / odd.size()], offsets[g] = odd[g % odd.size()];
  std::vector<int32_t> corrections(groups);
  gemm_.fill_codes4(k, codes.data(), scales.data(), corrections.data(), offsets.data());
  for (size_t g = 0; g < groups; ++g) {
    int32_t sum = 0;
    for (size_t i = g * 32; i < g * 32 + 32; ++i) sum += static_cast<int8_t>(codes[i]);
    if (std::isfinite(scales[g])) {
      EXPECT_EQ(corrections[g], -128 * sum) << g;
    }
    if (g < odd.size()) {
      EXPECT_TRUE(std::isnan(scales[g])) << g;
    }
  }
}

TEST_P(Gemm, ExactValuesStayExact) {
  const size_t k = 128, rows = gemm_.tile_rows;
  std::mt19937 random(7);
  Panel panel(rows, k);
  for (int8_t& v : panel.values)
    v = static_cast<int8_t>(static_cast<int>(random() % static_cast<uint32_t>(2 * gemm_.most_value + 1)) -
                            gemm_.most_value);
  for (float& s : panel.scales) s = 0.01f;
  for (size_t r = 0; r < rows; ++r)
    gemm_.fill_values8(k, &panel.values[r * k], &panel.corrections[r * k / 32]);
  Tile tile(gemm_, random_floats(k * gemm_.tile_tokens, 8), k);
  EXPECT_LT(
      product_error(gemm_, PanelForm::values8, panel, rows, k, tile,
                    [&](size_t r, size_t i) { return panel.values[r * k + i] * static_cast<double>(0.01f); }),
      1e-6);
}

TEST_P(Gemm, FloatProductMatchesDoublePrecision) {
  for (const size_t k : {1, 33, 300}) {
    const size_t rows = gemm_.tile_rows, lanes = gemm_.tile_tokens;
    const std::vector<float> w = random_floats(rows * k, 9), x = random_floats(k * lanes, 10);
    std::vector<float> out(rows * lanes);
    gemm_.multiply_f32(w.data(), rows, k, x.data(), out.data());
    for (size_t r = 0; r < rows; ++r) {
      for (size_t lane = 0; lane < lanes; ++lane) {
        double sum = 0;
        for (size_t i = 0; i < k; ++i) sum += static_cast<double>(w[r * k + i]) * x[i * lanes + lane];
        EXPECT_NEAR(out[r * lanes + lane], sum, 1e-5 * std::sqrt(static_cast<double>(k)));
      }
    }
  }
}

TEST_P(Gemm, NanInActivationsReachesTheProduct) {
  const size_t k = 64, rows = gemm_.tile_rows;
  for (const float bad : {NAN, INFINITY}) {
    std::vector<float> x = random_floats(k * gemm_.tile_tokens, 13);
    x[5 * gemm_.tile_tokens + 1] = bad;
    Tile tile(gemm_, x, k);
    const std::vector<float> weights = random_floats(rows * k, 14);
    Panel panel(rows, k);
    for (size_t r = 0; r < rows; ++r)
      gemm_.fill_floats(&weights[r * k], k, &panel.values[r * k], &panel.corrections[r * k / 32],
                        &panel.scales[r * k / 32]);
    std::vector<float> out(rows * gemm_.tile_tokens);
    gemm_.multiply(PanelForm::values8, panel.view(), rows, k, tile.view(), out.data());
    EXPECT_TRUE(std::isnan(out[1]));
    EXPECT_FALSE(std::isnan(out[0]));
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, Gemm,
                         testing::ValuesIn(available_targets().begin(), available_targets().end()),
                         [](const auto& tested) { return std::string(name(tested.param)); });

}  // namespace
}  // namespace cairn::kernels
