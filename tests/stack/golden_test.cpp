// The codecs against the same in numpy: tools/make_stack_golden.py.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/half.hpp"
#include "stack/avd.hpp"
#include "stack/plane_blocks.hpp"
#include "stack/tables.hpp"

namespace cairn::stack {
namespace {

nlohmann::json golden() {
  return nlohmann::json::parse(std::ifstream(std::string(CAIRN_TEST_DATA) + "/stack_golden.json"));
}

std::vector<std::byte> bytes_of(const nlohmann::json& base64) {
  const auto digit = [](char c) {
    return std::string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/").find(c);
  };
  std::vector<std::byte> bytes;
  uint32_t bits = 0, count = 0;
  for (const char c : base64.get<std::string>()) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(digit(c));
    if (++count % 4 != 1) bytes.push_back(static_cast<std::byte>(bits >> (6 - 2 * ((count - 1) % 4)) & 0xff));
  }
  return bytes;
}
std::vector<float> floats_of(const nlohmann::json& base64) {
  const std::vector<std::byte> bytes = bytes_of(base64);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

TEST(Golden, TablesAreNumpys) {
  const auto expected = golden()["tables"];
  const Tables tables = gaussian_tables();
  for (unsigned k = 1; k <= kPlanes; ++k) {
    for (size_t i = 0; i < size_t{1} << k; ++i)
      EXPECT_EQ(tables.integers[table_offset(k) + i], expected[k - 1][i]) << k << " bits, code " << i;
  }
}

TEST(Golden, NestedPlanesAreNumpys) {
  const auto expected = golden()["planes"];
  const auto rows = expected["rows"].get<uint32_t>(), columns = expected["columns"].get<uint32_t>();
  const Tables tables = gaussian_tables();
  std::vector<uint8_t> codes(size_t{rows} * columns);
  std::vector<uint16_t> scales(rows);
  for (uint8_t level = 1; level <= kPlanes; ++level) {
    const std::vector<std::byte> block = bytes_of(expected["blocks"][level - 1]);
    unpack_planes(block, columns, level, scales, codes);
    const std::vector<float> values = floats_of(expected["values"][level - 1]);
    ASSERT_EQ(values.size(), codes.size());
    for (size_t i = 0; i < values.size(); ++i) {
      const int8_t integer = tables.integers[table_offset(level) + (codes[i] >> (kPlanes - level))];
      ASSERT_EQ(from_half(scales[i / columns]) * static_cast<float>(integer), values[i]) << int{level};
    }
    std::vector<std::byte> packed(block.size());
    pack_planes(codes, scales, columns, level, packed);
    EXPECT_EQ(packed, block);
  }
}

TEST(Golden, AvdRestoresNumpysBlocksAndLosesNoMore) {
  const auto expected = golden()["avd"];
  const auto rows = expected["rows"].get<uint32_t>(), columns = expected["columns"].get<uint32_t>();
  ThreadPool pool(1);
  AvdSum sum(rows, columns);
  const size_t levels = expected["blocks"].size();
  for (size_t i = 0; i < levels; ++i)
    sum.add(bytes_of(expected["blocks"][i]), static_cast<uint8_t>(i + 1), pool);
  const std::vector<float> restored = sum.take(), values = floats_of(expected["restored"]);
  ASSERT_EQ(restored.size(), values.size());
  for (size_t i = 0; i < values.size(); ++i) ASSERT_NEAR(restored[i], values[i], 1e-5f);
  std::vector<double> losses;
  avd_blocks(floats_of(expected["weights"]), rows, columns, floats_of(expected["scales"]),
             {.levels = static_cast<unsigned>(levels)}, pool, losses);
  for (size_t i = 0; i <= levels; ++i) {
    const auto exact = expected["losses"][i].get<double>();  // by full decompositions; ours iterates
    EXPECT_NEAR(losses[i], exact, 0.02 * exact) << i << " levels";
  }
}

}  // namespace
}  // namespace cairn::stack
