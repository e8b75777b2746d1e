// The static int8 product against integer sums, on every instruction set of this processor.
#include "kernels/static_int8.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "kernels/kernel_set.hpp"

namespace cairn::kernels {
namespace {

class StaticInt8 : public testing::TestWithParam<Target> {
 protected:
  const StaticKernels& kernels = kernel_set(GetParam()).exact;
  std::mt19937 random{7};

  std::vector<float> floats(size_t n, float range) {
    std::uniform_real_distribution<float> uniform(-range, range);
    std::vector<float> x(n);
    for (float& v : x) v = uniform(random);
    return x;
  }
};

TEST_P(StaticInt8, ProductIsExactForExtremesAndRandomValues) {
  const size_t lanes = kernels.tile_tokens, rows = 2 * kernels.tile_rows;
  for (const size_t k : {4u, 36u, 1024u, 1028u, 5504u}) {
    for (const bool extreme : {false, true}) {
      std::vector<int8_t> weights(rows * k);
      std::vector<uint8_t> values(k * lanes);
      std::vector<float> scales(rows);
      const auto draw = [&] {
        const int value = static_cast<int>(random() % 255) - 127;
        return extreme ? (value < 0 ? -127 : 127) : value;
      };
      for (int8_t& w : weights) w = static_cast<int8_t>(draw());
      for (uint8_t& v : values) v = static_cast<uint8_t>(draw() + 128);
      // Whole rows of one sign: the largest sums that there can be.
      if (extreme) std::fill(weights.begin(), weights.begin() + static_cast<ptrdiff_t>(k), int8_t{127});
      for (float& s : scales) s = 0.25f;
      std::vector<int32_t> corrections(rows);
      kernels.corrections(weights.data(), rows, k, corrections.data());
      std::vector<float> out(rows * lanes);
      kernels.multiply(weights.data(), corrections.data(), scales.data(), rows, k, values.data(), out.data());
      for (size_t r = 0; r < rows; ++r) {
        for (size_t lane = 0; lane < lanes; ++lane) {
          int64_t sum = 0;
          for (size_t i = 0; i < k; ++i)
            sum += weights[r * k + i] * (values[(i / 4 * lanes + lane) * 4 + i % 4] - 128);
          ASSERT_EQ(out[r * lanes + lane], static_cast<float>(sum) * 0.25f) << "k " << k << " row " << r;
        }
      }
    }
  }
}

TEST_P(StaticInt8, TransposesAnyShape) {
  for (const auto& [rows, columns] : {std::pair<size_t, size_t>{32, 144}, {1, 5}, {7, 4}, {9, 11}}) {
    const size_t from_stride = columns + 3, to_stride = rows + 2;
    std::vector<uint32_t> from(rows * from_stride), to(columns * to_stride, 0);
    for (uint32_t& v : from) v = random();
    kernels.transpose(from.data(), from_stride, rows, columns, to.data(), to_stride, 0x80808080u);
    for (size_t c = 0; c < columns; ++c) {
      for (size_t r = 0; r < rows; ++r)
        ASSERT_EQ(to[c * to_stride + r], from[r * from_stride + c] ^ 0x80808080u) << rows << " " << columns;
      ASSERT_EQ(to[c * to_stride + rows], 0u) << "written beyond the rows";
    }
  }
}

TEST_P(StaticInt8, QuantizesWithClampingToldApart) {
  const size_t lanes = kernels.tile_tokens, k = 8;
  std::vector<float> x = floats(k * lanes, 126), inverse(lanes, 1.0f);
  std::vector<uint8_t> values(k * lanes);
  EXPECT_FALSE(kernels.quantize(x.data(), k, inverse.data(), values.data()));
  x[3 * lanes + 1] = 127.6f;
  x[5 * lanes + 2] = -1e9f;
  EXPECT_TRUE(kernels.quantize(x.data(), k, inverse.data(), values.data()));
  for (size_t i = 0; i < k; ++i) {
    for (size_t lane = 0; lane < lanes; ++lane) {
      const float expected = std::nearbyint(std::min(127.0f, std::max(-127.0f, x[i * lanes + lane])));
      EXPECT_EQ(values[(i / 4 * lanes + lane) * 4 + i % 4] - 128, expected);
    }
  }
  std::vector<float> largest(lanes);
  kernels.token_largest(x.data(), k, largest.data());
  EXPECT_EQ(largest[2], 1e9f);
  EXPECT_EQ(largest[1], 127.6f);
}

TEST_P(StaticInt8, RowsRoundToTheirLargest) {
  for (const size_t k : {5u, 32u, 577u}) {
    const std::vector<float> row = floats(k, 3);
    const float top = kernels.largest(row.data(), k);
    float expected = 0;
    for (const float v : row) expected = std::max(expected, std::abs(v));
    EXPECT_EQ(top, expected);
    std::vector<int8_t> values(k);
    kernels.quantize_row(row.data(), k, top, values.data());
    for (size_t i = 0; i < k; ++i) EXPECT_NEAR(values[i], row[i] * 127 / top, 0.50001);
  }
}

TEST_P(StaticInt8, FinishScalesLanesAndAddsBias) {
  const size_t lanes = kernels.tile_tokens, rows = 3;
  std::vector<float> out = floats(rows * lanes, 1);
  const std::vector<float> before = out, scales = floats(lanes, 1), bias = floats(rows, 1);
  kernels.finish(out.data(), rows, scales.data(), bias.data());
  for (size_t i = 0; i < rows * lanes; ++i)
    EXPECT_NEAR(out[i], before[i] * scales[i % lanes] + bias[i / lanes], 1e-6);
  out = before;
  kernels.finish(out.data(), rows, scales.data(), nullptr);
  for (size_t i = 0; i < rows * lanes; ++i) EXPECT_NEAR(out[i], before[i] * scales[i % lanes], 1e-6);
}

TEST_P(StaticInt8, MixesBlocks) {
  for (const size_t blocks : {1u, 3u, 43u}) {
    for (const size_t n : {4u, 64u, 100u}) {
      std::vector<float> x = floats(blocks * n, 1);
      const std::vector<float> before = x, mixing = floats(blocks * blocks, 1);
      std::vector<float> scratch(64 * blocks);
      kernels.mix(x.data(), mixing.data(), blocks, n, scratch.data());
      for (size_t i = 0; i < blocks; ++i) {
        for (size_t c = 0; c < n; ++c) {
          double sum = 0;
          for (size_t j = 0; j < blocks; ++j)
            sum += static_cast<double>(mixing[i * blocks + j]) * static_cast<double>(before[j * n + c]);
          ASSERT_NEAR(x[i * n + c], sum, 1e-5);
        }
      }
    }
  }
}

TEST_P(StaticInt8, ColumnsAreAdded) {
  const size_t lanes = kernels.tile_tokens, count = 5, rows = 3 * kernels.tile_rows + 1;
  const std::vector<float> weights = floats(count * rows, 1), x = floats(count * lanes, 1);
  std::vector<float> out = floats(rows * lanes, 1);
  const std::vector<float> before = out;
  std::vector<const float*> columns;
  for (size_t c = 0; c < count; ++c) columns.push_back(weights.data() + c * rows);
  kernels.add_columns(columns.data(), count, rows, x.data(), out.data());
  for (size_t r = 0; r < rows; ++r) {
    for (size_t lane = 0; lane < lanes; ++lane) {
      double sum = before[r * lanes + lane];
      for (size_t c = 0; c < count; ++c)
        sum += static_cast<double>(weights[c * rows + r]) * static_cast<double>(x[c * lanes + lane]);
      EXPECT_NEAR(out[r * lanes + lane], sum, 1e-5);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, StaticInt8, testing::ValuesIn(available_targets()),
                         [](const auto& which) { return std::string(name(which.param)); });

}  // namespace
}  // namespace cairn::kernels
