// Prefill's product on every instruction set of this processor: panels of every encoding against its
// dequantised weights, and products against double-precision sums over what both sides stand for.
#include "kernels/gemm.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "kernels/encodings_support.hpp"
#include "kernels/kernel_set.hpp"

namespace cairn::kernels {
namespace {

constexpr double kHalfUlp = 0x1p-24;  // of a float, relative

struct Tile {
  Tile(const GemmKernels& gemm, const std::vector<float>& x, size_t k)
      : gemm(gemm),
        lanes(gemm.tile_tokens),
        memory(activation_bytes(gemm, k) / 64),
        view(activation_tile(gemm, memory.front().bytes, k)) {
    gemm.quantize_tile(x.data(), k, view);
  }
  int value(size_t k, size_t lane) const { return view.values[gemm.tile_place(k, lane)]; }
  double at(size_t k, size_t lane) const {
    return static_cast<double>(view.scales[k / 32 * lanes + lane]) * value(k, lane);
  }
  struct alignas(64) Line {
    uint8_t bytes[64];
  };
  const GemmKernels& gemm;
  size_t lanes;
  std::vector<Line> memory;
  ActivationTile view;
};

std::vector<float> random_floats(size_t n, uint32_t seed, float range = 1) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-range, range);
  std::vector<float> x(n);
  for (float& v : x) v = uniform(random);
  return x;
}

// Rows of an encoding and the panel that they make.
class Panel {
 public:
  Panel(const EncodingInfo& e, Target target, std::span<const uint8_t> blocks, size_t rows, size_t k)
      : form(kernel_set(target).encoding(e.encoding).form), gemm_(kernel_set(target).gemm), k_(k) {
    const EncodingKernels& kernels = kernel_set(target).encoding(e.encoding);
    const size_t row_bytes = k / e.block_elements * e.block_bytes;
    values_.resize((rows + gemm_.rows_together - 1) * k * gemm_.value_bytes(form));
    corrections_.resize(rows * k / 32);
    scales_.resize((rows + gemm_.scales_together - 1) * k / length());
    offsets_.resize(rows * k / 32 * (form == PanelForm::codes6_offset ? 2 : 1));
    test::Exact exact(blocks, 0);
    kernels.fill_panel(exact.data(), row_bytes, rows, k, view());
    weights.resize(rows * k);
    for (size_t r = 0; r < rows; ++r) kernels.dequantize(blocks.data() + r * row_bytes, k, &weights[r * k]);
  }
  WeightPanel view() { return {values_.data(), corrections_.data(), scales_.data(), offsets_.data()}; }
  size_t length() const {  // of what shares a scale
    return form == PanelForm::codes6 || form == PanelForm::codes6_offset ? 16 : 32;
  }
  double scale(size_t i) const {
    return scales_[gemm_.scale_place(i / k_, i % k_ / length(), k_ / length())];
  }
  double offset(size_t i) const {
    const bool has =
        form == PanelForm::codes4 || form == PanelForm::codes5_offset || form == PanelForm::codes6_offset;
    return has ? offsets_[i / length()] : 0;
  }
  // What the product multiplies: [row · k + column].
  int value(size_t i) const {
    const size_t at = gemm_.panel_place(i / k_, i % k_, k_);
    switch (form) {
      case PanelForm::values8:
        if (gemm_.values8_bytes == 1)
          return gemm_.values8_zero == 0 ? values_[at]
                                         : static_cast<uint8_t>(values_[at]) - gemm_.values8_zero;
        return static_cast<uint8_t>(values_[i / 4 * 8 + 4 + i % 4]) *
               (values_[i / 4 * 8 + i % 4] < 0 ? -1 : 1);
      case PanelForm::codes4:
        return static_cast<uint8_t>(values_[at]);
      case PanelForm::codes5:
      case PanelForm::codes5_offset:
        return static_cast<uint8_t>(values_[at]) - 16;
      default:
        return static_cast<uint8_t>(values_[at]) - 32;
    }
  }
  double weight(size_t i) const { return scale(i) * value(i) + offset(i); }
  double size(size_t i) const { return std::abs(scale(i) * value(i)) + std::abs(offset(i)); }
  const PanelForm form;
  std::vector<float> weights;

 private:
  const GemmKernels& gemm_;
  const size_t k_;
  std::vector<int8_t> values_;
  std::vector<int32_t> corrections_;
  std::vector<float> scales_, offsets_;
};

// The product of panel and tile, against exact sums of what they stand for. Integer sums are exact; a scale's
// product rounds three times, an offset's twice, and each of k / length sums once more.
void check_product(const GemmKernels& gemm, Panel& panel, size_t rows, size_t k, const Tile& tile) {
  std::vector<float> out(rows * gemm.tile_tokens, NAN);
  gemm.multiply(panel.form, panel.view(), rows, k, tile.view, out.data());
  const double rounding = static_cast<double>(2 * k / panel.length() + 4) * kHalfUlp;
  for (size_t r = 0; r < rows; ++r) {
    for (size_t lane = 0; lane < gemm.tile_tokens; ++lane) {
      double sum = 0, size = 1e-30;
      for (size_t i = 0; i < k; ++i) {
        sum += panel.weight(r * k + i) * tile.at(i, lane);
        size += panel.size(r * k + i) * std::abs(tile.at(i, lane));
      }
      ASSERT_NEAR(out[r * gemm.tile_tokens + lane], sum, rounding * size)
          << "row " << r << ", token " << lane;
    }
  }
}

struct Case {
  Encoding encoding;
  Target target;
};

class Panels : public testing::TestWithParam<Case> {
 protected:
  const EncodingInfo& e = info(GetParam().encoding);
  const Target target = GetParam().target;
  const GemmKernels& gemm = kernel_set(target).gemm;
  const size_t unit = std::max<size_t>(e.block_elements, kGroup);

  std::vector<uint8_t> blocks(size_t rows, size_t k, uint64_t seed) const {
    std::vector<uint8_t> out = test::random_bytes(seed, rows * k / e.block_elements * e.block_bytes);
    test::make_moderate(e, out);
    return out;
  }
  // Whether every weight is kept as it is: floats are not, and scales for each 16 only where a form has
  // them for such codes.
  bool exact() const {
    using enum Encoding;
    const Encoding c = e.encoding;
    if (c == f32 || c == f16 || c == bf16 || c == iq2_xs || c == iq2_s) return false;
    return gemm.has_halves || (c != q6_k && c != q3_k && c != q2_k && c != iq1_m && c != nvfp4);
  }
};

TEST_P(Panels, StandForTheWeights) {
  for (size_t units = 1; units <= 17; ++units) {
    const size_t k = units * unit,
                 rows = units % 3 == 0 ? 9 : 2;  // more than is filled in one go
    const Panel panel(e, target, blocks(rows, k, units), rows, k);
    double error = 0, step = 0;
    for (size_t group = 0; group < rows * k / 32; ++group) {
      double largest = 0;
      for (size_t i = group * 32; i < group * 32 + 32; ++i) {
        const double w = panel.weights[i];
        // Scales and offsets are floats, and w is rounded twice.
        const double kept = 4 * kHalfUlp * panel.size(i);
        ASSERT_NEAR(panel.weight(i), w, exact() ? kept : 0.5001 * std::abs(panel.scale(i)))
            << "element " << i;
        error += (panel.weight(i) - w) * (panel.weight(i) - w);
        largest = std::max(largest, std::abs(w));
      }
      step += 32 * largest / 127 * largest / 127;
    }
    // Rounding to steps of a 127th of the largest has the variance step² / 12.
    EXPECT_LE(error, 2 * step / 12) << k;
  }
}

TEST_P(Panels, MultiplyExactly) {
  for (const size_t units : {1, 2, 3, 8, 9, 40}) {
    const size_t k = units * unit, rows = 2 * gemm.tile_rows;
    if (k > 8192) break;
    Panel panel(e, target, blocks(rows, k, units), rows, k);
    const Tile tile(gemm, random_floats(k * gemm.tile_tokens, 3), k);
    ASSERT_NO_FATAL_FAILURE(check_product(gemm, panel, rows, k, tile)) << k;
  }
}

// The largest sums that 16 bits have to hold: every code and activation at its end.
TEST_P(Panels, ExtremesDoNotSaturate) {
  const size_t k = 2 * unit, rows = gemm.tile_rows;
  for (const int byte : {0x00, 0x0F, 0x7F, 0x80, 0x81, 0xF0, 0xFF}) {
    std::vector<uint8_t> all(rows * k / e.block_elements * e.block_bytes, static_cast<uint8_t>(byte));
    test::make_moderate(e, all);
    Panel panel(e, target, all, rows, k);
    for (const int sign : {1, -1, 0}) {  // 0: neighbours differ
      std::vector<float> x(k * gemm.tile_tokens, static_cast<float>(sign));
      for (size_t i = 0; sign == 0 && i < x.size(); ++i) x[i] = i / gemm.tile_tokens % 2 == 0 ? 1.0f : -1.0f;
      const Tile tile(gemm, x, k);
      ASSERT_NO_FATAL_FAILURE(check_product(gemm, panel, rows, k, tile)) << byte << ", " << sign;
    }
  }
}

TEST_P(Panels, NanInActivationsReachesTheProduct) {
  const size_t k = 2 * unit, rows = gemm.tile_rows;
  Panel panel(e, target, blocks(rows, k, 5), rows, k);
  for (const float bad : {NAN, INFINITY}) {
    std::vector<float> x = random_floats(k * gemm.tile_tokens, 13);
    x[5 * gemm.tile_tokens + 1] = bad;
    const Tile tile(gemm, x, k);
    std::vector<float> out(rows * gemm.tile_tokens);
    gemm.multiply(panel.form, panel.view(), rows, k, tile.view, out.data());
    EXPECT_TRUE(std::isnan(out[1]));
    EXPECT_FALSE(std::isnan(out[0]));
  }
}

std::vector<Case> cases() {
  std::vector<Case> out;
  for (const EncodingInfo& e : encodings()) {
    for (const Target t : available_targets()) out.push_back({e.encoding, t});
  }
  return out;
}
std::string case_name(const testing::TestParamInfo<Case>& tested) {
  return std::string(cairn::info(tested.param.encoding).name) + "_on_" + name(tested.param.target);
}
INSTANTIATE_TEST_SUITE_P(All, Panels, testing::ValuesIn(cases()), case_name);

class Gemm : public testing::TestWithParam<Target> {
 protected:
  const GemmKernels& gemm_ = kernel_set(GetParam()).gemm;
};

TEST_P(Gemm, QuantizesActivationsToNearest) {
  const size_t k = 96, lanes = gemm_.tile_tokens;
  std::vector<float> x = random_floats(k * lanes, 1);
  for (size_t i = 32; i < 64; ++i) x[i * lanes + 1] = 0;  // a group of zeros
  const Tile tile(gemm_, x, k);
  for (size_t lane = 0; lane < lanes; ++lane) {
    for (size_t group = 0; group < k / 32; ++group) {
      const double scale = tile.view.scales[group * lanes + lane];
      int sum = 0;
      for (size_t i = group * 32; i < group * 32 + 32; ++i) {
        EXPECT_LE(std::abs(tile.at(i, lane) - x[i * lanes + lane]), 0.5001 * scale);
        sum += tile.value(i, lane);
      }
      EXPECT_FLOAT_EQ(tile.view.sums[group * lanes + lane], static_cast<float>(scale * sum));
    }
  }
  EXPECT_EQ(tile.view.scales[lanes + 1], 0);
}

// Q4_1 of the given halves, every code 3.
std::vector<uint8_t> q4_1_blocks(size_t count, uint16_t scale, uint16_t offset) {
  std::vector<uint8_t> out(count * 20, 0x33);
  for (size_t block = 0; block < count; ++block) {
    std::memcpy(&out[block * 20], &scale, 2);
    std::memcpy(&out[block * 20 + 2], &offset, 2);
  }
  return out;
}

TEST_P(Gemm, AGroupThatIsAllOffsetSurvives) {
  const size_t k = 64, rows = gemm_.tile_rows;
  for (const uint16_t scale : {0x0000, 0x0069}) {                              // 0, 6e-6
    const std::vector<uint8_t> blocks = q4_1_blocks(rows * 2, scale, 0x4500);  // 5
    Panel panel(info(Encoding::q4_1), GetParam(), blocks, rows, k);
    const Tile tile(gemm_, std::vector<float>(k * gemm_.tile_tokens, 1.0f), k);
    ASSERT_NO_FATAL_FAILURE(check_product(gemm_, panel, rows, k, tile));
    EXPECT_NEAR(panel.weight(7), panel.weights[7], 8 * 5 * kHalfUlp);
  }
}

// Whatever scales and offsets a file has, nothing is read or written elsewhere, and NaN stays NaN.
TEST_P(Gemm, ScalesThatAreNoNumbersDoNoHarm) {
  const std::vector<uint16_t> odd = {0x7E00, 0x7C00, 0xFC00, 0, 0x7BFF, 1, 0xBC00};  // NaN, ±∞, …
  const size_t k = 32, rows = gemm_.tile_rows;
  const Tile tile(gemm_, random_floats(k * gemm_.tile_tokens, 4), k);
  for (const uint16_t scale : odd) {
    for (const uint16_t offset : odd) {
      Panel panel(info(Encoding::q4_1), GetParam(), q4_1_blocks(rows, scale, offset), rows, k);
      std::vector<float> out(rows * gemm_.tile_tokens);
      gemm_.multiply(panel.form, panel.view(), rows, k, tile.view, out.data());
      if (scale == 0x7E00) {
        for (const float y : out) EXPECT_TRUE(std::isnan(y));
      }
    }
  }
}

TEST_P(Gemm, FloatProductMatchesDoublePrecision) {
  for (const size_t k : {1, 33, 300}) {
    const size_t rows = gemm_.tile_rows, lanes = gemm_.tile_tokens;
    const std::vector<float> w = random_floats(rows * k, 9), x = random_floats(k * lanes, 10);
    std::vector<float> out(rows * lanes);
    gemm_.multiply_f32(w.data(), rows, k, x.data(), out.data());
    for (size_t r = 0; r < rows; ++r) {
      for (size_t lane = 0; lane < lanes; ++lane) {
        double sum = 0, size = 0;
        for (size_t i = 0; i < k; ++i) {
          const double product = static_cast<double>(w[r * k + i]) * x[i * lanes + lane];
          sum += product;
          size += std::abs(product);
        }
        EXPECT_NEAR(out[r * lanes + lane], sum, static_cast<double>(k) * 2 * kHalfUlp * size);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, Gemm,
                         testing::ValuesIn(available_targets().begin(), available_targets().end()),
                         [](const auto& tested) { return std::string(name(tested.param)); });

}  // namespace
}  // namespace cairn::kernels
