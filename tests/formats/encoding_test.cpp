#include "formats/encoding.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "formats/gguf.hpp"
#include "support.hpp"

namespace cairn {
namespace {

// As tools/make_encoding_golden.py had them from the `gguf` package.
TEST(Encoding, SizesEqualThePackages) {
  const auto golden =
      nlohmann::json::parse(test::read_file(CAIRN_TEST_DATA "/encodings/hashes.json")).at("sizes");
  ASSERT_EQ(golden.size(), encodings().size());
  for (const EncodingInfo& e : encodings()) {
    EXPECT_EQ(golden.at(std::string(e.name)),
              fmt::format("{} {} {}", e.block_elements, e.block_bytes, static_cast<uint32_t>(e.encoding)));
  }
}

// Of each encoding a row that is no whole number of blocks, and a tensor whose last byte is missing.
TEST(Encoding, DamagedSizesAreRefused) {
  for (const EncodingInfo& e : encodings()) {
    const auto open = [&](uint64_t row, size_t bytes) {
      const test::TemporaryFolder folder;
      test::Bytes file;
      file.header(1, 0).tensor("stone", {row, 2}, static_cast<uint32_t>(e.encoding), 0).pad();
      file.raw(std::string(bytes, '\1'));
      const gguf::File opened(folder.write("x.gguf", file.str()));
      return opened.tensor("stone").data.size();
    };
    const uint64_t row = 2 * e.block_elements;
    const size_t bytes = 4 * e.block_bytes;
    EXPECT_EQ(open(row, bytes), bytes) << e.name;
    test::expect_error([&] { open(row, bytes - 1); }, ErrorCode::format, {"stone"});
    if (e.block_elements > 1)
      test::expect_error([&] { open(row - 1, bytes); }, ErrorCode::format, {"stone", std::string(e.name)});
  }
}

// Two rows of two blocks each are in the package's golden file.
TEST(Encoding, BlocksEqualThePackages) {
  const gguf::File file(test::golden("v3.gguf"));
  const auto golden =
      nlohmann::json::parse(test::read_file(test::golden("golden.json"))).at("v3.gguf").at("tensors");
  size_t compared = 0;
  for (const auto& tensor : golden) {
    const EncodingInfo* e = find_encoding(tensor.at("name").get<std::string>());
    if (!e || e->block_elements == 1) continue;
    EXPECT_EQ(tensor.at("shape").at(0).get<uint64_t>(), 2 * e->block_elements) << e->name;
    EXPECT_EQ(tensor.at("bytes").get<uint64_t>(), 4 * e->block_bytes) << e->name;
    ++compared;
  }
  EXPECT_EQ(compared, 13U);
}

TEST(Encoding, TableIsAscendingAndFoundByNumberAndName) {
  ASSERT_EQ(encodings().size(), 27U);
  for (size_t i = 0; i < encodings().size(); ++i) {
    const EncodingInfo& e = encodings()[i];
    if (i > 0) {
      EXPECT_LT(encodings()[i - 1].encoding, e.encoding);
    }
    EXPECT_EQ(find_encoding(static_cast<uint32_t>(e.encoding)), &e);
    EXPECT_EQ(find_encoding(e.name), &e);
    EXPECT_EQ(&info(e.encoding), &e);
  }
}

TEST(Encoding, OthersAreUnknown) {
  for (const uint32_t type : {4U, 5U, 9U, 15U, 24U, 31U, 36U, 42U, 0xffffffffU})
    EXPECT_EQ(find_encoding(type), nullptr);
  EXPECT_EQ(find_encoding("Q4_0"), nullptr);
  EXPECT_EQ(unread_encoding(15), "15 (q8_k)");
  EXPECT_EQ(unread_encoding(99), "99");
  test::expect_error([] { (void)info(static_cast<Encoding>(9)); }, ErrorCode::unsupported, {"9"});
}

}  // namespace
}  // namespace cairn
