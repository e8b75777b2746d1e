// Products with bit planes against codes assembled one by one, on every instruction set of this processor.
#include "kernels/planes.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernels/kernel_set.hpp"
#include "kernels/static_int8.hpp"
#include "kernels/vector.hpp"

namespace cairn::kernels {
namespace {

// A matrix of random codes, with its planes and its values as numbers.
struct Fixture {
  Fixture(uint32_t tiles_, size_t k_, uint32_t level_, unsigned seed) : tiles(tiles_), k(k_), level(level_) {
    std::mt19937 random(seed);
    const size_t rows_ = tiles * kPlaneRows;
    values.resize(size_t{1} << level);
    for (int8_t& v : values) v = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
    values.front() = -127;
    values.back() = 127;
    for (size_t i = 0; level == 7 && i < 64; ++i) values[i] = static_cast<int8_t>(-values[127 - i]);
    codes.resize(rows_ * k);
    for (uint8_t& c : codes) c = static_cast<uint8_t>(random() & ((1u << level) - 1));
    std::fill_n(codes.begin(), k, static_cast<uint8_t>(values.size() - 1));  // a row of the largest sums
    for (uint32_t plane = 0; plane < level; ++plane) {
      auto& bytes = planes.emplace_back(tiles * (k / kPlaneColumns) * kPlaneBytes);
      for (size_t r = 0; r < rows_; ++r) {
        for (size_t c = 0; c < k; ++c) {
          const unsigned bit = codes[r * k + c] >> (level - 1 - plane) & 1;
          const size_t step = r / 16 * (k / 32) + c / 32;
          bytes[step * 64 + r % 16 * 4 + c % 4] |= static_cast<std::byte>(bit << (c % 32 / 4));
        }
      }
    }
    // Halves by the kernel that the KV cache uses.
    scales.resize(rows_);
    halves.resize(rows_);
    for (float& s : scales) s = static_cast<float>(1 + random() % 1000) / 1024;
    kernel_set(Target::portable)
        .attention.store_row(KvFormat::f16, scales.data(), rows_, halves.data(), nullptr);
    rows.level = level;
    rows.tiles = tiles;
    rows.scales = halves.data();
    for (uint32_t plane = 0; plane < level; ++plane) rows.planes[plane] = planes[plane].data();
    table = make_plane_table(level, values.data());
  }
  int weight(size_t r, size_t c) const { return values[codes[r * k + c]]; }

  uint32_t tiles;
  size_t k;
  uint32_t level;
  std::vector<int8_t> values;
  std::vector<uint8_t> codes;
  std::vector<std::vector<std::byte>> planes;
  std::vector<float> scales;
  std::vector<uint16_t> halves;
  PlaneRows rows{};
  PlaneTable table{};
};

class Planes : public testing::TestWithParam<Target> {
 protected:
  const PlaneKernels& kernels = kernel_set(GetParam()).planes;
  std::mt19937 random{3};

  std::vector<float> floats(size_t n) {
    std::normal_distribution<float> normal;
    std::vector<float> x(n);
    for (float& v : x) v = normal(random);
    return x;
  }
};

TEST_P(Planes, MatrixVectorProductIsExactAtEveryLevel) {
  for (uint32_t level = 1; level <= kMostPlanes; ++level) {
    for (const size_t k : {32u, 96u, 576u, 2048u, 2080u}) {
      const Fixture f(3, k, level, level);
      std::vector<float> x = floats(k);
      if (k == 96) std::fill(x.begin(), x.end(), 1.0f);  // all of them 127
      std::vector<int8_t> values(k);
      std::vector<uint8_t> magnitudes(k);
      const PlaneVector vector = kernels.quantize(x.data(), k, values.data(), magnitudes.data());
      std::vector<float> y(f.scales.size());
      kernels.gemv(f.rows, f.table, k, vector, f.rows, y.data());
      for (size_t r = 0; r < y.size(); ++r) {
        int32_t sum = 0;
        for (size_t c = 0; c < k; ++c) sum += f.weight(r, c) * values[c];
        const float scale = f.scales[r] * vector.scale;
        ASSERT_EQ(y[r], static_cast<float>(sum) * scale) << "level " << level << " k " << k << " row " << r;
      }
    }
  }
}

TEST_P(Planes, BatchesHaveTheBitsOfOneByOne) {
  for (uint32_t level = 1; level <= kMostPlanes; ++level) {
    for (const size_t k : {32u, 96u, 576u, 2080u}) {
      const Fixture f(3, k, level, level);
      const size_t rows = f.scales.size(), stride = rows + 5;
      for (size_t count = 1; count <= 9; ++count) {
        std::vector<std::vector<int8_t>> values(count, std::vector<int8_t>(k));
        std::vector<std::vector<uint8_t>> magnitudes(count, std::vector<uint8_t>(k));
        std::vector<PlaneVector> x;
        std::vector<float> one(count * stride, -1.0f), many = one;
        for (size_t i = 0; i < count; ++i) {
          x.push_back(kernels.quantize(floats(k).data(), k, values[i].data(), magnitudes[i].data()));
          kernels.gemv(f.rows, f.table, k, x[i], f.rows, &one[i * stride]);
        }
        kernels.gemv_batch(f.rows, f.table, k, x.data(), count, f.rows, many.data(), stride);
        ASSERT_EQ(std::memcmp(one.data(), many.data(), one.size() * sizeof(float)), 0)
            << "level " << level << " k " << k << " count " << count;
      }
    }
  }
}

TEST_P(Planes, LargestSumsFitIn32Bits) {
  const size_t k = kMostPlaneColumns;
  const Fixture f(1, k, 1, 1);
  std::vector<float> x(k, 2.0f);
  std::vector<int8_t> values(k);
  std::vector<uint8_t> magnitudes(k);
  const PlaneVector vector = kernels.quantize(x.data(), k, values.data(), magnitudes.data());
  std::vector<float> y(kPlaneRows);
  kernels.gemv(f.rows, f.table, k, vector, f.rows, y.data());
  EXPECT_FLOAT_EQ(y[0], static_cast<float>(k * 127 * 127) * f.scales[0] * vector.scale);
}

TEST_P(Planes, QuantizesToTheNearestOf255Steps) {
  const size_t k = 320;
  std::vector<float> x = floats(k);
  std::vector<int8_t> values(k);
  std::vector<uint8_t> magnitudes(k);
  const PlaneVector vector = kernels.quantize(x.data(), k, values.data(), magnitudes.data());
  int32_t sum = 0;
  for (size_t i = 0; i < k; ++i) {
    EXPECT_LE(std::abs(static_cast<float>(values[i]) * vector.scale - x[i]), vector.scale * 0.5001f);
    EXPECT_EQ(magnitudes[i], std::abs(values[i]));
    sum += values[i];
  }
  EXPECT_EQ(vector.sum, sum);
  std::fill(x.begin(), x.end(), 0.0f);
  EXPECT_EQ(kernels.quantize(x.data(), k, values.data(), magnitudes.data()).scale, 0);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    x[7] = bad;
    EXPECT_FALSE(std::isfinite(kernels.quantize(x.data(), k, values.data(), magnitudes.data()).scale));
  }
}

TEST_P(Planes, FilledTilesMultiplyExactlyAndScatter) {
  const StaticKernels& tiles = kernel_set(GetParam()).exact;
  const size_t lanes = kernels.tile_tokens;
  ASSERT_EQ(lanes, tiles.tile_tokens);
  for (uint32_t level = 1; level <= kMostPlanes; ++level) {
    for (const size_t k : {32u, 992u, 2080u}) {
      const Fixture f(2, k, level, level + 7);
      std::vector<uint8_t> values(k * lanes);
      for (uint8_t& v : values) v = static_cast<uint8_t>(1 + random() % 255);
      std::vector<float> lane_scales(lanes), bias(16), out(16 * lanes, -1.0f);
      for (float& s : lane_scales) s = static_cast<float>(1 + random() % 8) / 8;
      for (float& b : bias) b = static_cast<float>(random() % 100);
      // Sixteen rows in another order, the last one nobody wants.
      std::vector<uint32_t> destination(16);
      for (uint32_t r = 0; r < 16; ++r) destination[r] = (r * 5 + 3) % 16;
      destination[15] = UINT32_MAX;
      std::vector<int8_t> panel(16 * k);
      std::vector<int32_t> corrections(16);
      std::vector<float> scales(16);
      kernels.fill(f.rows, 1, f.table, k, panel.data(), corrections.data());
      kernels.scales(f.rows, 1, scales.data());
      for (size_t r = 0; r < 16; ++r) EXPECT_EQ(scales[r], f.scales[16 + r]);
      kernels.multiply({panel.data(), corrections.data(), scales.data(), destination.data(), k},
                       values.data(), lane_scales.data(), bias.data(), out.data());
      for (size_t r = 0; r < 15; ++r) {
        for (size_t lane = 0; lane < lanes; ++lane) {
          int64_t sum = 0;
          for (size_t c = 0; c < k; ++c)
            sum += f.weight(16 + r, c) * (values[(c / 4 * lanes + lane) * 4 + c % 4] - 128);
          const float expected =
              std::fma(static_cast<float>(sum), scales[r] * lane_scales[lane], bias[destination[r]]);
          ASSERT_FLOAT_EQ(out[destination[r] * lanes + lane], expected) << "level " << level << " k " << k;
        }
      }
      for (size_t lane = 0; lane < lanes; ++lane) EXPECT_EQ(out[(15 * 5 + 3) % 16 * lanes + lane], -1.0f);
    }
  }
}

TEST_P(Planes, RowsAreTableValuesTimesTheirScale) {
  for (uint32_t level = 1; level <= kMostPlanes; ++level) {
    const Fixture f(2, 96, level, level);
    std::vector<float> row(96);
    for (const uint32_t r : {0u, 5u, 31u}) {
      kernels.row(f.rows, r, f.table, 96, row.data());
      for (size_t c = 0; c < 96; ++c)
        ASSERT_EQ(row[c], f.scales[r] * static_cast<float>(f.weight(r, c))) << "level " << level;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, Planes,
                         testing::ValuesIn(available_targets().begin(), available_targets().end()),
                         [](const auto& target) { return std::string(name(target.param)); });

}  // namespace
}  // namespace cairn::kernels
