// Split files: the parts must be there, each in its place, and together hold what the first says.
#include "formats/gguf.hpp"
#include "support.hpp"

namespace cairn::gguf {
namespace {

using test::expect_error;
using test::golden;

class Split : public testing::Test {
 protected:
  static std::string name(int part) { return fmt::format("split-{:05}-of-00003.gguf", part); }
  void copy(int from, int to) { folder_.write(name(to), test::read_file(golden(name(from)))); }
  void replace(int part, const std::string& what, const std::string& with) {
    std::string bytes = test::read_file(golden(name(part)));
    const size_t at = bytes.find(what);
    ASSERT_NE(at, std::string::npos);
    folder_.write(name(part), bytes.replace(at, what.size(), with));
  }
  std::string first() { return folder_ / name(1); }
  void SetUp() override {
    for (int part = 1; part <= 3; ++part) copy(part, part);
  }
  test::TemporaryFolder folder_;
};

// A key's bytes followed by kind and value, as GGUF stores a 16-bit or 32-bit number.
std::string u16(const std::string& key, uint16_t value) {
  return test::Bytes().raw(key).put(uint32_t{2}).put(value).str();
}
std::string i32(const std::string& key, int32_t value) {
  return test::Bytes().raw(key).put(uint32_t{5}).put(value).str();
}

TEST_F(Split, AllPartsAreOneModel) {
  const File file(first());
  EXPECT_EQ(file.tensors().size(), 18U);
  uint64_t bytes = 0;
  for (int part = 1; part <= 3; ++part) bytes += test::read_file(golden(name(part))).size();
  EXPECT_EQ(file.file_bytes(), bytes);
}

TEST_F(Split, MissingPart) {
  std::filesystem::remove(folder_ / name(2));
  expect_error([&] { File file(first()); }, ErrorCode::not_found, {name(2)});
}

TEST_F(Split, LaterPartGiven) {
  expect_error([&] { File file(folder_ / name(2)); }, ErrorCode::invalid_argument,
               {name(2), "part 2 of 3", "first"});
}

TEST_F(Split, FirstPartAgainInPlaceOfTheSecond) {
  copy(1, 2);
  expect_error([&] { File file(first()); }, ErrorCode::format, {name(2), "part 1 of 3", "part 2 of 3"});
}

TEST_F(Split, PartsOutOfOrder) {
  copy(3, 2);
  expect_error([&] { File file(first()); }, ErrorCode::format, {name(2), "part 3 of 3"});
}

TEST_F(Split, SameTensorsTwice) {
  std::string bytes = test::read_file(golden(name(3)));
  const std::string own = u16("split.no", 2);
  folder_.write(name(2), bytes.replace(bytes.find(own), own.size(), u16("split.no", 1)));
  replace(1, i32("split.tensors.count", 18), i32("split.tensors.count", 15));
  expect_error([&] { File file(first()); }, ErrorCode::format, {name(3), "earlier split file"});
}

TEST_F(Split, TruncatedPart) {
  folder_.write(name(3), test::read_file(golden(name(3))).substr(0, 900));
  expect_error([&] { File file(first()); }, ErrorCode::format, {name(3), "byte"});
}

TEST_F(Split, NameWithoutNumbers) {
  folder_.write("model.gguf", test::read_file(golden(name(1))));
  expect_error([&] { File file(folder_ / "model.gguf"); }, ErrorCode::format,
               {"model.gguf", "-00001-of-00003.gguf"});
}

TEST_F(Split, CountsThatDisagree) {
  replace(1, i32("split.tensors.count", 18), i32("split.tensors.count", 19));
  expect_error([&] { File file(first()); }, ErrorCode::format, {"split.tensors.count is 19", "18"});
  replace(1, i32("split.tensors.count", 18), i32("split.tensors.count", -1));
  expect_error([&] { File file(first()); }, ErrorCode::format, {"split.tensors.count", "not a count"});
  replace(1, "split.tensors.count", "split.tensors.total");
  expect_error([&] { File file(first()); }, ErrorCode::format, {"split.tensors.count", "missing"});
  replace(1, u16("split.count", 3), u16("split.count", 4));
  expect_error([&] { File file(first()); }, ErrorCode::format, {"-of-00004.gguf"});
}

}  // namespace
}  // namespace cairn::gguf
