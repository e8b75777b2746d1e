// Nothing in a file is trusted: each kind of damage is an error that names the file, the byte and the reason.
#include <sys/stat.h>

#include "formats/gguf.hpp"
#include "support.hpp"

namespace cairn::gguf {
namespace {

using test::Bytes;
using test::expect_error;
using test::golden;
using test::TemporaryFolder;

// The kinds of metadata values.
constexpr uint32_t kU8 = 0, kU32 = 4, kI32 = 5, kBool = 7, kString = 8, kArray = 9, kF64 = 12;
constexpr uint64_t kHuge = uint64_t{1} << 63;

void expect_refused(const std::string& bytes, ErrorCode code, std::vector<std::string> parts) {
  const TemporaryFolder folder;
  const std::string path = folder.write("bad.gguf", bytes);
  parts.push_back(path);
  expect_error([&] { File file(path); }, code, parts);
}

TEST(GgufCorrupt, MissingFile) {
  const TemporaryFolder folder;
  expect_error([&] { File file(folder / "none.gguf"); }, ErrorCode::not_found, {"none.gguf", "No such file"});
}

TEST(GgufCorrupt, Folder) {
  const TemporaryFolder folder;
  expect_error([&] { File file(folder / ""); }, ErrorCode::io, {"directory"});
}

TEST(GgufCorrupt, NamedPipeIsRefusedWithoutWaiting) {
  const TemporaryFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  expect_error([&] { File file(folder / "pipe"); }, ErrorCode::io, {"pipe", "not a regular file"});
}

TEST(GgufCorrupt, EmptyFile) {
  expect_refused("", ErrorCode::format, {"empty"});
}

TEST(GgufCorrupt, NotGguf) {
  expect_refused("PK\3\4 and more", ErrorCode::format, {"byte 0", "not a GGUF file"});
  expect_refused("GG", ErrorCode::format, {"byte 0", "not a GGUF file"});
}

TEST(GgufCorrupt, Versions) {
  expect_refused(Bytes().header(0, 0, 1).str(), ErrorCode::unsupported, {"byte 4", "version 1"});
  expect_refused(Bytes().header(0, 0, 4).str(), ErrorCode::unsupported, {"byte 4", "version 4"});
  expect_refused(Bytes().header(0, 0, 0x03000000).str(), ErrorCode::unsupported, {"byte 4", "big-endian"});
}

TEST(GgufCorrupt, TruncatedAtEveryByte) {
  // The last tensor's 2 * 2 blocks of 17 bytes end 28 bytes before the file does: only that padding may be
  // missing.
  constexpr size_t kPadding = 28;
  for (const char* name : {"v2.gguf", "v3.gguf"}) {
    const std::string whole = test::read_file(golden(name));
    const TemporaryFolder folder;
    const std::string path = folder.write("cut.gguf", whole);
    for (size_t size = whole.size(); size-- > 0;) {
      std::filesystem::resize_file(path, size);
      try {
        const File cut(path);
        EXPECT_GE(size, whole.size() - kPadding) << "read although cut";
      } catch (const Error& error) {
        EXPECT_LT(size, whole.size() - kPadding) << error.what();
        EXPECT_EQ(error.code(), ErrorCode::format) << size << ": " << error.what();
        EXPECT_THAT(error.what(), testing::HasSubstr(path));
      }
    }
  }
}

TEST(GgufCorrupt, EveryByteFlippedEitherReadsOrIsRefused) {
  const std::string whole = test::read_file(golden("v3.gguf"));
  const TemporaryFolder folder;
  const std::string path = folder.write("flipped.gguf", whole);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const auto set = [&](size_t at, char byte) {
    file.seekp(static_cast<std::streamoff>(at)).put(byte).flush();
  };
  size_t refused = 0;
  for (size_t at = 0; at < whole.size(); ++at) {
    set(at, static_cast<char>(~whole[at]));
    try {
      EXPECT_EQ(File(path).tensors().size(), 18U);
    } catch (const Error& error) {
      ++refused;
      EXPECT_TRUE(error.code() == ErrorCode::format || error.code() == ErrorCode::unsupported)
          << error.what();
    }
    set(at, whole[at]);
  }
  EXPECT_GT(refused, 500U);
  EXPECT_EQ(File(path).tensors().size(), 18U);
}

TEST(GgufCorrupt, Counts) {
  expect_refused(Bytes().header(kHuge, 0).zeros(64).str(), ErrorCode::format,
                 {"byte 8", "number of tensors"});
  expect_refused(Bytes().header(0, kHuge).zeros(64).str(), ErrorCode::format, {"byte 16", "metadata pairs"});
  expect_refused(Bytes().header(3, 0).zeros(64).str(), ErrorCode::format, {"byte 8", "3"});
}

TEST(GgufCorrupt, MetadataStrings) {
  expect_refused(Bytes().header(0, 1).put(kHuge).zeros(64).str(), ErrorCode::format,
                 {"byte 24", "metadata key", "9223372036854775808"});
  expect_refused(Bytes().header(0, 1).string("").put(kU8).zeros(9).str(), ErrorCode::format,
                 {"byte 24", "empty"});
  expect_refused(Bytes().header(0, 1).string("k").put(kString).put(uint64_t{100}).zeros(8).str(),
                 ErrorCode::format, {"byte 37", "100"});
  expect_refused(Bytes().header(0, 1).string("k").put(kString).put(~uint64_t{0}).zeros(8).str(),
                 ErrorCode::format, {"byte 37"});
}

TEST(GgufCorrupt, MetadataKinds) {
  expect_refused(Bytes().header(0, 1).string("k").put(uint32_t{13}).zeros(8).str(), ErrorCode::unsupported,
                 {"byte 33", "kind 13"});
  expect_refused(
      Bytes().header(0, 1).string("k").put(kArray).put(uint32_t{99}).put(uint64_t{1}).zeros(8).str(),
      ErrorCode::unsupported, {"byte 37", "kind 99"});
  expect_refused(Bytes().header(0, 1).string("k").put(kArray).put(kArray).put(uint64_t{1}).zeros(20).str(),
                 ErrorCode::unsupported, {"byte 37", "arrays of arrays"});
  expect_refused(Bytes().header(0, 1).string("k").put(kBool).put(uint8_t{2}).str(), ErrorCode::format,
                 {"byte 37", "boolean"});
}

TEST(GgufCorrupt, ArrayLengths) {
  for (const uint32_t kind : {kU8, kU32, kBool, kString, kF64})
    for (const uint64_t count : {kHuge, ~uint64_t{0}, uint64_t{1} << 61, uint64_t{65}})
      expect_refused(Bytes().header(0, 1).string("k").put(kArray).put(kind).put(count).zeros(64).str(),
                     ErrorCode::format, {"byte 41", "array's length"});
}

TEST(GgufCorrupt, DuplicateKeys) {
  expect_refused(
      Bytes().header(0, 2).string("k").put(kU8).put(uint8_t{1}).string("k").put(kU8).put(uint8_t{1}).str(),
      ErrorCode::format, {"byte 38", "'k'", "twice"});
}

TEST(GgufCorrupt, ControlCharactersOfNamesAreEscaped) {
  Bytes bytes;
  bytes.header(0, 2);
  for (int i = 0; i < 2; ++i) bytes.string("\x1b[31m\n\xff").put(kU8).put(uint8_t{1});
  expect_refused(bytes.str(), ErrorCode::format, {R"('\x1b[31m\n\xff')"});
}

TEST(GgufCorrupt, Alignment) {
  const auto with = [](uint32_t kind, uint32_t value) {
    return Bytes().header(0, 1).string("general.alignment").put(kind).put(value).str();
  };
  for (const uint32_t value : {0U, 1U, 4U, 24U, 100U, 0x80000000U})
    expect_refused(with(kU32, value), ErrorCode::format, {"general.alignment is " + std::to_string(value)});
  expect_refused(with(kI32, 32), ErrorCode::format, {"general.alignment"});
}

struct TensorCase {
  const char* name;
  Bytes bytes;
  ErrorCode code;
  std::vector<std::string> parts;
};

TEST(GgufCorrupt, Tensors) {
  constexpr uint32_t kF32 = 0, kF16 = 1, kQ8_0 = 8, kQ4_K = 12;
  const auto one = [](std::initializer_list<uint64_t> shape, uint32_t type, uint64_t offset) {
    return Bytes().header(1, 0).tensor("t", shape, type, offset).pad().zeros(256);
  };
  const std::vector<TensorCase> cases{
      {"no dimensions", one({}, kF32, 0), ErrorCode::format, {"byte 24", "'t'", "0 dimensions"}},
      {"five dimensions", one({1, 1, 1, 1, 1}, kF32, 0), ErrorCode::format, {"5 dimensions"}},
      {"a dimension of zero", one({4, 0}, kF32, 0), ErrorCode::format, {"dimension 1 is 0"}},
      {"product over 2^64", one({kHuge, 4}, kF32, 0), ErrorCode::format, {"overflows"}},
      {"product wraps to 0",
       one({uint64_t{1} << 32, uint64_t{1} << 32}, kF32, 0),
       ErrorCode::format,
       {"overflows"}},
      {"bytes over 2^64", one({(uint64_t{1} << 62) - 2}, kF32, 0), ErrorCode::format, {"exceed"}},
      {"bytes wrap", one({uint64_t{1} << 62}, kF32, 0), ErrorCode::format, {"size in bytes overflows"}},
      {"unknown encoding", one({32}, 9, 0), ErrorCode::unsupported, {"'t'", "encoding 9 "}},
      {"encoding of the future",
       one({32}, 4'000'000'000, 0),
       ErrorCode::unsupported,
       {"encoding 4000000000"}},
      {"half a block", one({48, 2}, kQ8_0, 0), ErrorCode::format, {"48", "q8_0", "32"}},
      {"half a K block", one({128, 2}, kQ4_K, 0), ErrorCode::format, {"128", "q4_k", "256"}},
      {"misaligned", one({4}, kF32, 16), ErrorCode::format, {"offset 16", "32"}},
      {"offset at the end",
       one({4}, kF32, 256),
       ErrorCode::format,
       {"16 bytes at offset 256", "256 bytes of data"}},
      {"offset beyond", one({4}, kF32, kHuge), ErrorCode::format, {"exceed"}},
      {"offset plus size wraps", one({16}, kF32, ~uint64_t{31}), ErrorCode::format, {"exceed"}},
      {"longer than the data", one({65}, kF32, 0), ErrorCode::format, {"260 bytes", "256 bytes of data"}},
      {"name too long",
       Bytes().header(1, 0).put(kHuge).zeros(64),
       ErrorCode::format,
       {"byte 24", "tensor's name"}},
      {"no name",
       Bytes().header(1, 0).tensor("", {1}, kF32, 0).pad().zeros(32),
       ErrorCode::format,
       {"empty"}},
      {"two of a name",
       Bytes().header(2, 0).tensor("t", {8}, kF32, 0).tensor("t", {8}, kF32, 32).pad().zeros(64),
       ErrorCode::format,
       {"'t'", "twice"}},
      {"overlap",
       Bytes().header(2, 0).tensor("a", {16}, kF32, 32).tensor("b", {17}, kF16, 0).pad().zeros(256),
       ErrorCode::format,
       {"'a'", "'b'", "overlap"}},
  };
  for (const TensorCase& c : cases) {
    SCOPED_TRACE(c.name);
    expect_refused(c.bytes.str(), c.code, c.parts);
  }
}

TEST(GgufCorrupt, TensorsSideBySideInAnyOrderAreRead) {
  const TemporaryFolder folder;
  const Bytes bytes = Bytes().header(2, 0).tensor("a", {16}, 0, 32).tensor("b", {16}, 1, 0).pad().zeros(96);
  const File file(folder.write("good.gguf", bytes.str()));
  EXPECT_EQ(file.tensor("a").data.data(), file.tensor("b").data.data() + 32);
}

TEST(GgufCorrupt, ModelWithoutTensorsIsRead) {
  const TemporaryFolder folder;
  const File file(folder.write("good.gguf", Bytes().header(0, 1).string("k").put(kU8).put(uint8_t{5}).str()));
  EXPECT_TRUE(file.tensors().empty());
  EXPECT_EQ(file.integer("k"), 5U);
}

}  // namespace
}  // namespace cairn::gguf
