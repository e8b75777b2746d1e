// Rows of 4 and 5 bits: how near they are to what was stored, on every instruction set.
#include "kernels/packed_rows.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "kernels/kernel_set.hpp"

namespace cairn::kernels {
namespace {

class PackedRows : public testing::TestWithParam<Target> {
 protected:
  const AttentionKernels& attention_ = kernel_set(GetParam()).attention;
};

// With the scale that puts a group's largest element at the largest level, each element is within half the
// widest step of levels, 31 / 2 of 127 or 22 / 2, and half an ulp of the scale, 2^-9 for bfloat16 and 2^-4
// for bytes; the scale that is taken has no larger sum of squares. Of normal numbers, Lloyd's and Max's
// quantisers leave 0.0095 and 0.0025 of the power (Max 1960, table I); a scale for each 64 less.
TEST_P(PackedRows, KeepWhatLevelsAllow) {
  std::mt19937 random(18);
  std::normal_distribution<float> normal;
  for (const KvFormat format : {KvFormat::q4, KvFormat::q5}) {
    for (const size_t n : {16, 20, 33, 64, 80, 128}) {
      std::vector<float> x(n);
      std::vector<std::byte> codes(kv_row_bytes(format, n)), scales(kv_scale_bytes(format, n));
      const auto stored = [&](size_t i) { return packed_element(format, codes.data(), scales.data(), i, n); };
      const auto store = [&] { attention_.store_row(format, x.data(), n, codes.data(), scales.data()); };
      for (const float size : {1e-20f, 1e-2f, 1.0f, 300.0f, 1e20f}) {
        if (n % kQ4Group != 0 && (size < 1e-3f || size > 1e3f)) continue;  // what a byte's scale reaches
        double all = 0, lost = 0;
        for (int row = 0; row < 40; ++row) {
          for (float& v : x) v = size * normal(random);
          store();
          for (size_t group = 0; group < n; group += kQ4Group) {
            const size_t end = std::min(n, group + kQ4Group);
            double largest = 0, square = 0;
            for (size_t i = group; i < end; ++i) {
              const double is = static_cast<double>(x[i]), error = static_cast<double>(stored(i)) - is;
              largest = std::max(largest, std::abs(is));
              square += error * error;
              all += is * is;
            }
            lost += square;
            const double most = largest * ((format == KvFormat::q4 ? 15.5 : 11.0) / 127 +
                                           (end - group == kQ4Group ? 1.0 / 512 : 1.0 / 16));
            EXPECT_LE(square, static_cast<double>(end - group) * most * most) << n;
          }
        }
        EXPECT_LT(lost, (format == KvFormat::q4 ? 0.0095 : 0.0025) * all) << n;
      }
      if (n % kQ4Group != 0) {  // the ends of what a byte's scale reaches: as an f16 cache's are
        for (float& v : x) v = 3e5f * (v < 0 ? -1 : 1);
        store();
        EXPECT_NEAR(stored(n - 1) / x[n - 1], 1, 0.1);
        for (float& v : x) v = 1e-5f;
        store();
        EXPECT_NEAR(stored(n - 1), 0, 1e-5);
      }
      // What is nothing stays nothing; what is not finite is not a number.
      std::fill(x.begin(), x.end(), 0.0f);
      store();
      EXPECT_EQ(stored(3), 0);
      for (const float bad : {NAN, INFINITY}) {
        x[5] = bad;
        store();
        EXPECT_TRUE(std::isnan(stored(3)));
      }
    }
  }
}

// Each element is as near as its levels allow to what it is plus what the errors before it ask for, and what
// the errors cost under the form that the feedback is made of, G = U D Uᵀ, is less than without.
TEST_P(PackedRows, ThatAreFedBackAnswerTheirErrors) {
  std::mt19937 random(40);
  std::normal_distribution<float> normal;
  for (const size_t n : {16, 20, 33, 64, 80, 128, 256}) {
    const size_t stride = fed_back_stride(n);
    // A unit upper triangular, D falling: the last elements are all but what the first ones say.
    std::vector<float> feedback(n * stride, 0.0f), none(n * stride, 0.0f);
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = i + 1; j < n; ++j)
        feedback[i * stride + j] = 1.2f * normal(random) / std::sqrt(static_cast<float>(n));
    }
    std::vector<float> x(n);
    std::vector<std::byte> codes(kv_row_bytes(KvFormat::q5, n)), plain(codes.size()),
        scales(kv_scale_bytes(KvFormat::q5, n)), plain_scales(scales.size());
    // Of a stored row: its errors, and what was added to each element for those before it.
    struct Found {
      std::vector<double> errors, answers;
      double cost = 0;
    };
    const auto look = [&](const std::vector<std::byte>& row) {
      Found found{std::vector<double>(n), std::vector<double>(n)};
      for (size_t j = 0; j < n; ++j) {
        found.errors[j] =
            static_cast<double>(x[j] - packed_element(KvFormat::q5, row.data(), scales.data(), j, n));
        for (size_t i = 0; i < j; ++i)
          found.answers[j] += found.errors[i] * static_cast<double>(feedback[i * stride + j]);
        found.cost += (found.errors[j] + found.answers[j]) * (found.errors[j] + found.answers[j]);
      }
      return found;
    };
    double fed_back = 0, rounded = 0;
    for (int row = 0; row < 20; ++row) {
      for (float& v : x) v = 3 * normal(random);
      attention_.store_row(KvFormat::q5, x.data(), n, plain.data(), plain_scales.data());
      attention_.store_fed_back(x.data(), n, none.data(), codes.data(), scales.data());
      EXPECT_EQ(codes, plain) << n;
      EXPECT_EQ(scales, plain_scales) << n;
      attention_.store_fed_back(x.data(), n, feedback.data(), codes.data(), scales.data());
      EXPECT_EQ(scales, plain_scales) << n;
      const Found found = look(codes);
      for (size_t j = 0; j < n; ++j) {
        const double wanted = static_cast<double>(x[j]) + found.answers[j],
                     scale = static_cast<double>(q4_scale(scales.data(), j, n));
        double least = 1e9;
        for (const int level : kLevels[1])
          least = std::min(least, std::abs(std::abs(wanted) - scale * level));
        EXPECT_LE(std::abs(found.errors[j] + found.answers[j]), least + 1e-4 * scale)
            << n << ", element " << j;
      }
      fed_back += found.cost;
      rounded += look(plain).cost;
    }
    EXPECT_LT(fed_back, (n < 64 ? 0.9 : 0.75) * rounded) << n;
    for (const float bad : {NAN, INFINITY}) {
      x[5] = bad;
      attention_.store_fed_back(x.data(), n, feedback.data(), codes.data(), scales.data());
      EXPECT_TRUE(std::isnan(packed_element(KvFormat::q5, codes.data(), scales.data(), 3, n)));
    }
    std::fill(x.begin(), x.end(), 0.0f);
    attention_.store_fed_back(x.data(), n, feedback.data(), codes.data(), scales.data());
    EXPECT_EQ(packed_element(KvFormat::q5, codes.data(), scales.data(), 3, n), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, PackedRows,
                         testing::ValuesIn(available_targets().begin(), available_targets().end()),
                         [](const auto& tested) { return std::string(name(tested.param)); });

}  // namespace
}  // namespace cairn::kernels
