// Every encoding on every instruction set of this machine: dequantize against the gguf package's values, gemv
// against sums in double precision of the dequantised weights. Panels: gemm_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/sha256.hpp"
#include "kernels/encodings_support.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/target_list.hpp"

namespace cairn::kernels::test {
namespace {

struct Case {
  Encoding encoding;
  Target target;
  const EncodingKernels* kernels;
  bool passed_over = false;  // this processor has better ones, others of the same target have not
};

std::vector<Case> cases() {
  std::vector<Case> out;
  for (const EncodingInfo& e : encodings()) {
    for (const Target t : available_targets()) {
      out.push_back({e.encoding, t, &kernel_set(t).encoding(e.encoding)});
#if defined(__x86_64__)
      // Cascade Lake's, where VBMI and GFNI are there.
      const EncodingKernels* own =
          t == Target::avx512vnni ? avx512vnni::encoding_kernels(e.encoding) : nullptr;
      if (own != nullptr && own != out.back().kernels) out.push_back({e.encoding, t, own, true});
#endif
    }
  }
  return out;
}

class Encodings : public testing::TestWithParam<Case> {
 protected:
  const EncodingInfo& e = info(GetParam().encoding);
  const EncodingKernels& kernels = *GetParam().kernels;
  // A row's length is a multiple of this.
  const size_t unit = std::max<size_t>(e.block_elements, kGroup);

  size_t bytes_of(size_t elements) const { return elements / e.block_elements * e.block_bytes; }

  std::vector<float> dequantize(std::span<const uint8_t> blocks) const {
    std::vector<float> out(blocks.size() / e.block_bytes * e.block_elements);
    kernels.dequantize(blocks.data(), out.size(), out.data());
    return out;
  }

  // y[i · stride + r] = row r · (x[i] [+ rest[i]])
  void gemv(const uint8_t* weights, size_t row_bytes, size_t rows, size_t k, const VectorBatch& x, float* y,
            size_t stride = 0) const {
    const bool fine = x.rest != nullptr;
    const std::vector<uint8_t> bytes(kernels.prepared_bytes(k, x.count, fine));
    Exact prepared(bytes, 0);
    kernels.prepare(x, k, prepared.data());
    kernels.gemv(weights, row_bytes, rows, k, {prepared.data(), x.count, fine}, y, stride);
  }

  // y against Σ w x in double precision, within 1e-5 of Σ |w x|, for one vector and for two.
  void check_gemv(std::span<const uint8_t> weights, size_t rows, size_t k, size_t shift) const {
    const size_t row_bytes = bytes_of(k);
    ASSERT_EQ(weights.size(), row_bytes * rows);
    Exact exact(weights, shift);
    const Activations activations(k + rows, k), others(k + rows + 1, activations, k);
    const QuantizedVector x = activations.view(), rest = others.view();
    const std::vector<float> w = dequantize(weights);
    std::vector<float> y(rows, std::nanf("")), both(rows, std::nanf(""));
    gemv(exact.data(), row_bytes, rows, k, {&x, nullptr, 1}, y.data());
    gemv(exact.data(), row_bytes, rows, k, {&x, &rest, 1}, both.data());
    for (size_t r = 0; r < rows; ++r) {
      double sum = 0, magnitude = 0, rest_sum = 0, rest_magnitude = 0;
      for (size_t i = 0; i < k; ++i) {
        const double product = static_cast<double>(w[r * k + i]) * x.values[i] * x.scales[i / kGroup];
        const double other = static_cast<double>(w[r * k + i]) * rest.values[i] * rest.scales[i / kGroup];
        sum += product;
        magnitude += std::abs(product);
        rest_sum += other;
        rest_magnitude += std::abs(other);
      }
      ASSERT_NEAR(y[r], sum, 1e-5 * magnitude)
          << "row " << r << " of " << rows << ", k " << k << ", shift " << shift;
      ASSERT_NEAR(both[r], sum + rest_sum, 1e-5 * (magnitude + rest_magnitude))
          << "pair, row " << r << " of " << rows << ", k " << k << ", shift " << shift;
    }
  }
};

TEST_P(Encodings, DequantizeEqualsTheGoldenBlocks) {
  const std::vector<uint8_t> blocks = read_data(std::string(e.name) + ".blocks");
  const std::vector<uint8_t> values = read_data(std::string(e.name) + ".values");
  const size_t elements = blocks.size() / e.block_bytes * e.block_elements;
  ASSERT_GT(elements, 0u);
  ASSERT_EQ(values.size(), elements * 4);
  for (size_t shift = 0; shift < 4; ++shift) {
    Exact exact(blocks, shift);
    std::vector<float> out(elements);
    kernels.dequantize(exact.data(), elements, out.data());
    for (size_t i = 0; i < elements; ++i) {
      uint32_t expected = 0, actual = 0;
      std::memcpy(&expected, values.data() + i * 4, 4);
      std::memcpy(&actual, &out[i], 4);
      ASSERT_EQ(actual, expected) << "element " << i;
    }
  }
}

TEST_P(Encodings, DequantizeHasTheGoldenHash) {
  const std::vector<uint8_t> text = read_data("hashes.json");
  const auto golden = nlohmann::json::parse(text.begin(), text.end());
  std::vector<uint8_t> blocks =
      random_bytes(static_cast<uint64_t>(e.encoding), golden.at("blocks").get<size_t>() * e.block_bytes);
  make_finite(e, blocks);
  Sha256 hash;
  const std::vector<float> values = dequantize(blocks);
  hash.update(std::as_bytes(std::span(values)));
  EXPECT_EQ(hash.hex(), golden.at("sha256").at(std::string(e.name)).get<std::string>());
}

bool same_bits(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

// Rows' ends are where chunks of eight groups leave a rest.
TEST_P(Encodings, DequantizeOfAnyLengthIsThatOfTheWhole) {
  std::vector<uint8_t> blocks = random_bytes(7, 19 * e.block_bytes);
  make_finite(e, blocks);
  const std::vector<float> whole = dequantize(blocks);
  for (size_t n = 0; n <= 19; ++n) {
    Exact exact(std::span<const uint8_t>(blocks).first(n * e.block_bytes), n % 4);
    std::vector<float> out(n * e.block_elements);
    kernels.dequantize(exact.data(), out.size(), out.data());
    EXPECT_TRUE(std::equal(out.begin(), out.end(), whole.begin(), same_bits)) << n << " blocks";
  }
}

TEST_P(Encodings, GemvOfEveryShape) {
  for (size_t units = 1; units <= 19; ++units) {
    for (size_t rows = 1; rows <= 7; ++rows) {
      const size_t k = units * unit;
      std::vector<uint8_t> weights = random_bytes(units * 8 + rows, rows * bytes_of(k));
      make_moderate(e, weights);
      ASSERT_NO_FATAL_FAILURE(check_gemv(weights, rows, k, (units + rows) % 4));
    }
  }
}

TEST_P(Encodings, GemvOfExtremeCodes) {
  const size_t k = 9 * unit, rows = 5;
  for (const int byte : {0x00, 0x7F, 0x80, 0x81, 0xFF}) {
    std::vector<uint8_t> weights(rows * bytes_of(k), static_cast<uint8_t>(byte));
    make_moderate(e, weights);
    ASSERT_NO_FATAL_FAILURE(check_gemv(weights, rows, k, 1)) << "all bytes " << byte;
  }
}

TEST_P(Encodings, GemvOfMoreColumnsThanAreHeldAtATime) {
  const size_t k = 16384 + 3 * unit, rows = 5;
  std::vector<uint8_t> weights = random_bytes(13, rows * bytes_of(k));
  make_moderate(e, weights);
  ASSERT_NO_FATAL_FAILURE(check_gemv(weights, rows, k, 2));
}

// A token's bits must not depend on who shares the call.
TEST_P(Encodings, BatchesHaveTheBitsOfOneByOne) {
  for (const size_t units : {1u, 2u, 3u, 5u, 8u, 11u, 15u, 16u, 19u, 0u}) {
    const size_t k = units == 0 ? 16384 + 7 * unit : units * unit;  // 0: more than are held at a time
    for (size_t count = 1; count <= 9; ++count) {
      const size_t rows = 1 + (units * 5 + count) % 23, stride = rows + 3, shift = (units + count) % 4;
      std::vector<uint8_t> weights = random_bytes(units * 16 + count, rows * bytes_of(k));
      make_moderate(e, weights);
      Exact exact(weights, shift);
      std::vector<Activations> inputs, rests;
      std::vector<QuantizedVector> x, rest;
      for (size_t i = 0; i < count; ++i) {
        x.push_back(inputs.emplace_back(100 + i, k).view());
        rest.push_back(rests.emplace_back(200 + i, inputs.back(), k).view());
      }
      std::vector<float> one(count * stride, -1.0f), many = one, pair = one, pairs = one;
      for (size_t i = 0; i < count; ++i) {
        gemv(exact.data(), bytes_of(k), rows, k, {&x[i], nullptr, 1}, &one[i * stride]);
        gemv(exact.data(), bytes_of(k), rows, k, {&x[i], &rest[i], 1}, &pair[i * stride]);
      }
      gemv(exact.data(), bytes_of(k), rows, k, {x.data(), nullptr, count}, many.data(), stride);
      gemv(exact.data(), bytes_of(k), rows, k, {x.data(), rest.data(), count}, pairs.data(), stride);
      ASSERT_TRUE(std::equal(one.begin(), one.end(), many.begin(), same_bits)) << count << " of k " << k;
      ASSERT_TRUE(std::equal(pair.begin(), pair.end(), pairs.begin(), same_bits))
          << "pairs, " << count << " of k " << k;
    }
  }
}

TEST_P(Encodings, GemvLeavesGapsBetweenRowsAlone) {
  const size_t k = 3 * unit, rows = 6, gap = 5, row_bytes = bytes_of(k);
  std::vector<uint8_t> weights = random_bytes(11, rows * row_bytes);
  make_moderate(e, weights);
  std::vector<uint8_t> spread((rows - 1) * (row_bytes + gap) + row_bytes, 0xFF);
  for (size_t r = 0; r < rows; ++r) {
    std::copy_n(weights.begin() + static_cast<ptrdiff_t>(r * row_bytes), row_bytes,
                spread.begin() + static_cast<ptrdiff_t>(r * (row_bytes + gap)));
  }
  const Activations activations(5, k);
  const QuantizedVector x = activations.view();
  std::vector<float> dense(rows), gapped(rows);
  gemv(weights.data(), row_bytes, rows, k, {&x, nullptr, 1}, dense.data());
  Exact exact(spread, 0);
  gemv(exact.data(), row_bytes + gap, rows, k, {&x, nullptr, 1}, gapped.data());
  EXPECT_EQ(dense, gapped);
}

std::string case_name(const testing::TestParamInfo<Case>& c) {
  return std::string(info(c.param.encoding).name) + "_on_" + name(c.param.target) +
         (c.param.passed_over ? "_without_vbmi" : "");
}
INSTANTIATE_TEST_SUITE_P(All, Encodings, testing::ValuesIn(cases()), case_name);

}  // namespace
}  // namespace cairn::kernels::test
