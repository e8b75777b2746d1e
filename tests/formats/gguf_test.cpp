// Files written by the `gguf` package read as the package's own reader does (tools/make_gguf_golden.py).
#include "formats/gguf.hpp"

#include <nlohmann/json.hpp>
#include <numeric>

#include "formats/describe.hpp"
#include "support.hpp"

namespace cairn::gguf {
namespace {

using test::expect_error;
using test::golden;

nlohmann::json golden_json(const std::string& name) {
  return nlohmann::json::parse(test::read_file(golden("golden.json"))).at(name);
}

class GoldenFile : public testing::TestWithParam<const char*> {};

TEST_P(GoldenFile, MetadataEqualsThePackages) {
  const File file(golden(GetParam()));
  const nlohmann::json wanted = golden_json(GetParam()).at("metadata");
  EXPECT_EQ(file.metadata().size(), wanted.size());
  for (const auto& [key, value] : wanted.items()) {
    const Value* found = file.find(key);
    ASSERT_TRUE(found) << key;
    EXPECT_EQ(nlohmann::json::parse(to_json(*found, {.full = true}).dump()), value) << key;
  }
}

TEST_P(GoldenFile, TensorsEqualThePackages) {
  const File file(golden(GetParam()));
  const nlohmann::json wanted = golden_json(GetParam()).at("tensors");
  ASSERT_EQ(file.tensors().size(), wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    const Tensor& tensor = file.tensors()[i];
    EXPECT_EQ(tensor.name, wanted[i].at("name").get<std::string>());
    EXPECT_EQ(tensor.shape, wanted[i].at("shape").get<std::vector<uint64_t>>()) << tensor.name;
    EXPECT_EQ(info(tensor.encoding).name, wanted[i].at("encoding").get<std::string>());
    EXPECT_EQ(tensor.data.size(), wanted[i].at("bytes").get<uint64_t>()) << tensor.name;
    EXPECT_EQ(tensor.data.size(), tensor.row_bytes() * tensor.rows()) << tensor.name;
    uint64_t sum = 0;
    std::string head;
    for (const std::byte b : tensor.data) sum += std::to_integer<uint64_t>(b);
    for (const std::byte b : tensor.data.first(8)) head += fmt::format("{:02x}", std::to_integer<int>(b));
    EXPECT_EQ(sum, wanted[i].at("sum").get<uint64_t>()) << tensor.name;
    EXPECT_EQ(head, wanted[i].at("head").get<std::string>()) << tensor.name;
    EXPECT_EQ(file.find_tensor(tensor.name), &tensor);
  }
}

INSTANTIATE_TEST_SUITE_P(Gguf, GoldenFile,
                         testing::Values("v3.gguf", "v2.gguf", "aligned64.gguf", "split-00001-of-00003.gguf"),
                         [](const auto& p) {
                           return std::string(p.param).substr(0, std::string(p.param).find_first_of(".-"));
                         });

TEST(Gguf, KnowsItsVersionAndSize) {
  EXPECT_EQ(File(golden("v2.gguf")).version(), 2U);
  const File file(golden("v3.gguf"));
  EXPECT_EQ(file.version(), 3U);
  EXPECT_EQ(file.file_bytes(), test::read_file(golden("v3.gguf")).size());
  EXPECT_EQ(file.path(), golden("v3.gguf"));
}

TEST(Gguf, CopiesShareTheMapping) {
  auto first = std::make_unique<File>(golden("v3.gguf"));
  const File copy = *first;
  first.reset();
  EXPECT_EQ(copy.text("kinds.string"), "stones, Steine, 石");
  EXPECT_EQ(copy.tensor("scalars").data[7], std::byte{0x3f});  // 1.0f's last byte
}

TEST(Gguf, TypedLookUpsConvertWhatFits) {
  const File file(golden("v3.gguf"));
  EXPECT_EQ(file.integer("kinds.u8"), 200U);
  EXPECT_EQ(file.integer("kinds.u64"), (uint64_t{1} << 63) + 5);
  EXPECT_EQ(file.integer("absent", 9), 9U);
  EXPECT_DOUBLE_EQ(file.number("kinds.f64"), 0.1);
  EXPECT_DOUBLE_EQ(file.number("kinds.i8"), -100);
  EXPECT_DOUBLE_EQ(file.number("kinds.u16", 1), 60000);
  EXPECT_DOUBLE_EQ(file.number("absent", 2.5), 2.5);
  EXPECT_TRUE(file.boolean("kinds.bool", false));
  EXPECT_TRUE(file.boolean("absent", true));
  EXPECT_EQ(file.text("absent", "otherwise"), "otherwise");
  EXPECT_THAT(file.texts("arrays.string"), testing::ElementsAre("a", "", "ß"));
  EXPECT_THAT(file.integers("arrays.i32"), testing::ElementsAre(1, -2, 3));
  EXPECT_THAT(file.numbers("arrays.i32"), testing::ElementsAre(1.0, -2.0, 3.0));
  EXPECT_THAT(file.numbers("arrays.f32"), testing::ElementsAre(0.5, -1.25));
  EXPECT_TRUE(file.texts("absent").empty());
  EXPECT_TRUE(file.integers("absent").empty());
  EXPECT_TRUE(file.numbers("absent").empty());
}

TEST(Gguf, TypedLookUpsRefuseOtherKinds) {
  const File file(golden("v3.gguf"));
  const auto refuses = [&](const std::function<void()>& look, const char* key) {
    expect_error(look, ErrorCode::format, {"v3.gguf", key});
  };
  refuses([&] { (void)file.text("absent"); }, "absent");
  refuses([&] { (void)file.integer("absent"); }, "absent");
  refuses([&] { (void)file.number("absent"); }, "absent");
  refuses([&] { (void)file.text("kinds.u8"); }, "kinds.u8");
  refuses([&] { (void)file.text("kinds.u8", "x"); }, "kinds.u8");
  refuses([&] { (void)file.integer("kinds.f32"); }, "kinds.f32");
  refuses([&] { (void)file.integer("kinds.i8"); }, "negative");
  refuses([&] { (void)file.integer("kinds.string", 1); }, "kinds.string");
  refuses([&] { (void)file.number("kinds.bool"); }, "kinds.bool");
  refuses([&] { (void)file.boolean("kinds.u8", false); }, "kinds.u8");
  refuses([&] { (void)file.texts("arrays.i32"); }, "arrays.i32");
  refuses([&] { (void)file.texts("kinds.string"); }, "kinds.string");
  refuses([&] { (void)file.integers("arrays.f32"); }, "arrays.f32");
  refuses([&] { (void)file.numbers("arrays.string"); }, "arrays.string");
  refuses([&] { (void)file.numbers("arrays.bool"); }, "arrays.bool");
  expect_error([&] { (void)file.tensor("absent"); }, ErrorCode::not_found, {"v3.gguf", "absent"});
  EXPECT_EQ(file.find_tensor("absent"), nullptr);
}

}  // namespace
}  // namespace cairn::gguf
