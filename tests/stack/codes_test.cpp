#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/encode.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/kernels.hpp"
#include "stack/plane_blocks.hpp"
#include "stack/tables.hpp"

namespace cairn::stack {
namespace {

TEST(Planes, LieWhereTheFormatSays) {
  constexpr uint32_t kRows = 40, kColumns = 96;  // the third tile is half empty
  std::mt19937 random(1);
  std::vector<uint8_t> codes(kRows * kColumns), back(codes.size());
  for (uint8_t& code : codes) code = static_cast<uint8_t>(random() % 128);
  std::vector<uint16_t> scales(kRows), scales_back(kRows);
  for (uint16_t& scale : scales) scale = static_cast<uint16_t>(random() % 0x7c00);
  const Matrix m{"m", kRows, kColumns, 48, true, Encoding::f32, {}};
  for (uint8_t level = 1; level <= kPlanes; ++level) {
    std::vector<std::byte> block(block_bytes(m, Codec::planes, 0, level));
    ASSERT_EQ(block.size(), 128 + 48 * kColumns / 8);
    pack_planes(codes, scales, kColumns, level, block);
    for (uint32_t row = 0; row < kRows; ++row) {
      for (uint32_t column = 0; column < kColumns; ++column) {
        const size_t step = row / 16 * (kColumns / 32) + column / 32, byte = row % 16 * 4 + column % 4;
        const unsigned bit =
            std::to_integer<unsigned>(block[128 + step * 64 + byte]) >> (column % 32 / 4) & 1;
        ASSERT_EQ(bit, codes[row * kColumns + column] >> (7 - level) & 1) << row << ", " << column;
      }
    }
    unpack_planes(block, kColumns, level, scales_back, back);
    EXPECT_EQ(scales_back, scales);
  }
  EXPECT_EQ(back, codes);
}

TEST(Tables, AreTheBestNestedQuantisersOfANormalDistribution) {
  const Tables tables = gaussian_tables();
  // The published Lloyd–Max distortions of 1 and 2 bits (Max, 1960); nested ones cost at most 4 % more
  // beyond.
  EXPECT_NEAR(static_cast<double>(tables.distortion[1]), 0.3634, 2e-4);
  EXPECT_NEAR(static_cast<double>(tables.distortion[2]), 0.1175, 6e-4);
  EXPECT_LT(static_cast<double>(tables.distortion[3]), 0.03454 * 1.04);
  EXPECT_LT(static_cast<double>(tables.distortion[4]), 0.009497 * 1.04);
  for (unsigned k = 1; k <= kPlanes; ++k) {
    ASSERT_EQ(tables.values[k].size(), size_t{1} << k);
    for (size_t i = 0; i + 1 < tables.values[k].size(); ++i) {
      if (k == 7 && i == 63) continue;  // the two in the middle are both nearest to 0
      ASSERT_LT(tables.values[k][i], tables.values[k][i + 1]);
    }
    EXPECT_EQ(tables.integers[table_offset(k) + (size_t{1} << k) - 1], 127);
    EXPECT_EQ(tables.integers[table_offset(k)], -127);
  }
}

TEST(EncodeKernels, MultiplyAndChooseAsTheirDefinitionSaysOnEveryInstructionSet) {
  constexpr size_t kRows = kernels::kStripRows, kM = 13, kK = 37;
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> a(kK * 20), b(kK * kRows), c(kM * kRows), targets(8 * kRows);
  for (auto* x : {&a, &b, &c, &targets}) {
    for (float& value : *x) value = normal(random);
  }
  const Tables tables = gaussian_tables();
  Tables crossed = tables;  // a pair of the finest codes the other way round
  std::swap(crossed.values[7][40], crossed.values[7][41]);
  for (const kernels::Target target : kernels::available_targets()) {
    const auto& kernels = kernels::kernel_set(target).encode;
    std::vector<float> out = c;
    kernels.multiply_add(kM, kK, -0.5f, a.data(), 20, b.data(), kRows, out.data(), kRows);
    for (size_t i = 0; i < kM; ++i) {
      for (size_t r = 0; r < kRows; ++r) {
        double sum = 0;
        for (size_t j = 0; j < kK; ++j)
          sum += static_cast<double>(a[j * 20 + i]) * static_cast<double>(b[j * kRows + r]);
        const auto before = static_cast<double>(c[i * kRows + r]);
        ASSERT_NEAR(static_cast<double>(out[i * kRows + r]), before - 0.5 * sum, 1e-4) << name(target);
      }
    }
    for (const auto& levels : {std::pair{2u, 4u}, {1u, 7u}, {7u, 7u}}) {
      const unsigned first = levels.first, last = levels.second;
      kernels::NestedTables nested{first, last, {}, {0, 5, 3, 2, 1, 4, 2, 6}};
      for (unsigned k = first; k <= last; ++k) nested.values[k] = crossed.values[k].data();
      std::vector<int32_t> codes(kRows);
      kernels.choose(nested, targets.data(), codes.data());
      for (size_t r = 0; r < kRows; ++r) {
        const auto cost = [&](int32_t code) {
          double sum = 0;
          for (unsigned k = first; k <= last; ++k) {
            const double e = static_cast<double>(targets[k * kRows + r]) -
                             static_cast<double>(nested.values[k][code >> (last - k)]);
            sum += static_cast<double>(nested.weights[k]) * e * e;
          }
          return sum;
        };
        for (int32_t code = 0; code < 1 << last; ++code)
          ASSERT_LE(cost(codes[r]), cost(code) + 1e-5) << name(target) << ' ' << first << " to " << last;
      }
    }
  }
}

}  // namespace
}  // namespace cairn::stack
