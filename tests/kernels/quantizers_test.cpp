// Quantisers against what the gguf package writes and against the errors of ggml's own
// (tools/make_quantizer_golden.py), the same bytes on every instruction set.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "base/sha256.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/quantize.hpp"

namespace cairn::kernels {
namespace {

constexpr size_t kRows = 64, kColumns = 1024;

std::vector<float> numbers() {
  SplitMix64 words(1);
  std::vector<float> x(kRows * kColumns);
  for (size_t i = 0; i < x.size(); ++i) {
    const uint64_t word = words.next();
    int64_t sum = -131070;
    for (int piece = 0; piece < 4; ++piece) sum += static_cast<int64_t>(word >> (16 * piece) & 0xffff);
    x[i] = static_cast<float>(sum) * 0x1p-22F * (i % 61 == 0 ? 8.0F : 1.0F);
  }
  return x;
}

std::vector<float> importance_of_columns() {
  SplitMix64 words(2);
  std::vector<float> importance(kColumns);
  for (float& value : importance) {
    const auto byte = static_cast<float>(words.next() >> 56);
    value = (1 + byte * byte) / 64;
  }
  return importance;
}

std::vector<std::byte> quantize(Encoding encoding, Target target, const std::vector<float>& x,
                                const float* importance, size_t columns = kColumns) {
  const EncodingInfo& e = info(encoding);
  const size_t row_bytes = columns / e.block_elements * e.block_bytes;
  std::vector<std::byte> blocks(x.size() / columns * row_bytes);
  for (size_t row = 0; row * columns < x.size(); ++row)
    find_quantizer(encoding, target)(x.data() + row * columns, importance, columns,
                                     blocks.data() + row * row_bytes);
  return blocks;
}

std::vector<float> dequantize(Encoding encoding, const std::vector<std::byte>& blocks) {
  const EncodingInfo& e = info(encoding);
  std::vector<float> x(blocks.size() / e.block_bytes * e.block_elements);
  kernel_set(Target::portable).encoding(encoding).dequantize(blocks.data(), x.size(), x.data());
  return x;
}

double relative_error(const std::vector<float>& x, const std::vector<float>& other, const float* importance) {
  double rest = 0, all = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double w = importance == nullptr ? 1 : static_cast<double>(importance[i % kColumns]);
    const double a = static_cast<double>(x[i]), b = static_cast<double>(other[i]);
    rest += w * (a - b) * (a - b);
    all += w * a * a;
  }
  return rest / all;
}

nlohmann::json golden() {
  return nlohmann::json::parse(std::ifstream(CAIRN_TEST_DATA "/quantizers.json"));
}

class Quantizers : public testing::TestWithParam<Target> {};

TEST_P(Quantizers, WithoutImportanceWriteWhatTheGgufPackageWrites) {
  const std::vector<float> x = numbers();
  const nlohmann::json hashes = golden().at("gguf");
  EXPECT_EQ(hashes.size(), 10U);
  for (const auto& [name, hash] : hashes.items()) {
    Sha256 sha;
    sha.update(quantize(find_encoding(name)->encoding, GetParam(), x, nullptr));
    EXPECT_EQ(sha.hex(), hash.get<std::string>()) << name;
  }
}

// With importance ggml weighs by the numbers' size as well, which this measure leaves out.
TEST_P(Quantizers, ErrLessThanGgml) {
  const std::vector<float> x = numbers(), importance = importance_of_columns();
  const nlohmann::json errors = golden().at("ggml");
  EXPECT_EQ(errors.size(), 20U);
  for (const auto& [name, both] : errors.items()) {
    const Encoding encoding = find_encoding(name)->encoding;
    for (const bool weighted : {false, true}) {
      const float* w = weighted ? importance.data() : nullptr;
      const double error = relative_error(x, dequantize(encoding, quantize(encoding, GetParam(), x, w)), w);
      const double theirs = both[weighted ? 1 : 0].get<double>();
      EXPECT_LE(error, theirs * 1.000001) << name << (weighted ? " with importance" : "");
      EXPECT_GT(error, theirs / 3) << name;  // neither is exact
      RecordProperty(name + (weighted ? "_weighted" : ""), std::to_string(error / theirs));
    }
  }
}

TEST_P(Quantizers, WriteTheSameBytesOnEveryInstructionSet) {
  const std::vector<float> x = numbers(), importance = importance_of_columns();
  for (const EncodingInfo& e : encodings()) {
    if (find_quantizer(e.encoding, GetParam()) == nullptr) continue;
    for (const float* w : {static_cast<const float*>(nullptr), importance.data()})
      EXPECT_EQ(quantize(e.encoding, GetParam(), x, w), quantize(e.encoding, Target::portable, x, w))
          << e.name;
  }
}

// Zeros, a number alone, all alike, the largest and the smallest that halves hold, importance of nothing or
// next to it.
TEST_P(Quantizers, StayNearNumbersAtTheLimits) {
  std::vector<std::vector<float>> rows(8, std::vector<float>(256, 0.0F));
  rows[1][100] = 3;
  rows[2].assign(256, -2.5F);
  rows[3].assign(256, 65504.0F);
  rows[4][0] = -65504.0F;
  rows[5].assign(256, 6e-8F);
  rows[6].assign(256, 1e-30F);
  for (size_t i = 0; i < 256; ++i) rows[7][i] = static_cast<float>(i) - 10;
  const std::vector<float> nothing(256, 0.0F), tiny(256, 1e-38F), huge(256, 3e38F);
  const std::vector<float>& one = rows[1];
  for (const EncodingInfo& e : encodings()) {
    if (find_quantizer(e.encoding, GetParam()) == nullptr) continue;
    for (const float* w :
         std::initializer_list<const float*>{nullptr, nothing.data(), tiny.data(), one.data(), huge.data()}) {
      for (size_t row = 0; row < rows.size(); ++row) {
        const std::vector<float> back =
            dequantize(e.encoding, quantize(e.encoding, GetParam(), rows[row], w, rows[row].size()));
        float most = 0;
        for (const float value : rows[row]) most = std::max(most, std::abs(value));
        for (size_t i = 0; i < back.size(); ++i) {
          EXPECT_TRUE(std::isfinite(back[i])) << e.name << " row " << row;
          EXPECT_LE(std::abs(back[i]), 1.6F * most + 6e-8F) << e.name << " row " << row << " column " << i;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Quantizers,
                         testing::ValuesIn(available_targets().begin(), available_targets().end()),
                         [](const auto& any) { return std::string(name(any.param)); });

}  // namespace
}  // namespace cairn::kernels
