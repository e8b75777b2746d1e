#include "formats/encoding.hpp"

#include <nlohmann/json.hpp>

#include "formats/gguf.hpp"
#include "support.hpp"

namespace cairn {
namespace {

// Block sizes as the `gguf` package has them: two rows of two blocks each are in its golden file.
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
  ASSERT_EQ(encodings().size(), 16U);
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
  for (const uint32_t type : {4U, 5U, 9U, 15U, 31U, 40U, 0xffffffffU})
    EXPECT_EQ(find_encoding(type), nullptr);
  EXPECT_EQ(find_encoding("Q4_0"), nullptr);
  test::expect_error([] { (void)info(static_cast<Encoding>(9)); }, ErrorCode::unsupported, {"9"});
}

}  // namespace
}  // namespace cairn
