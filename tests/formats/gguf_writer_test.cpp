#include "formats/gguf_writer.hpp"

#include <sys/resource.h>

#include <csignal>
#include <numeric>

#include "formats/gguf.hpp"
#include "support.hpp"

namespace cairn::gguf {
namespace {

using test::expect_error;

std::span<const std::byte> bytes_of(const auto& values) {
  return std::as_bytes(std::span(values));
}

TEST(GgufWriter, EqualsThePackagesFileByteForByte) {
  Writer writer;
  writer.set("general.architecture", "reference");
  writer.set("flag", true);
  writer.set("u32", uint32_t{7});
  writer.set("i32", int32_t{-7});
  writer.set("u64", uint64_t{1} << 40);
  writer.set("i64", -(int64_t{1} << 40));
  writer.set("f32", 1.5F);
  writer.set("f64", -2.25);
  writer.set("string", "stone");
  writer.set("ints", std::vector<int32_t>{3, -4});
  writer.set("floats", std::vector<float>{0.5F});
  writer.set("strings", std::vector<std::string>{"a", "bc"});
  writer.add_tensor("norm", Encoding::f32, {5});
  writer.add_tensor("matrix", Encoding::q8_0, {64, 2});
  EXPECT_EQ(writer.data_bytes(), 32U + 160U);

  std::vector<float> norm(5);
  std::iota(norm.begin(), norm.end(), 0.F);
  std::vector<uint8_t> matrix(size_t{2} * 2 * 34);
  for (size_t i = 0; i < matrix.size(); ++i) matrix[i] = static_cast<uint8_t>(i % 251);
  const test::TemporaryFolder folder;
  writer.write(folder / "out.gguf", [&](size_t tensor, const Writer::Sink& sink) {
    if (tensor == 0) return sink(bytes_of(norm));
    for (const uint8_t& byte : matrix) sink(std::as_bytes(std::span(&byte, 1)));
  });
  EXPECT_EQ(test::read_file(folder / "out.gguf"), test::read_file(test::golden("reference.gguf")));
}

TEST(GgufWriter, RoundTripOfEveryEncoding) {
  Writer writer;
  for (const EncodingInfo& e : encodings())
    writer.add_tensor(std::string(e.name), e.encoding, {3 * e.block_elements, 2, 2});
  const test::TemporaryFolder folder;
  writer.write(folder / "out.gguf", [](size_t tensor, const Writer::Sink& sink) {
    sink(bytes_of(std::vector<uint8_t>(size_t{12} * encodings()[tensor].block_bytes,
                                       static_cast<uint8_t>(tensor + 1))));
  });
  const File file(folder / "out.gguf");
  ASSERT_EQ(file.tensors().size(), encodings().size());
  for (size_t i = 0; i < encodings().size(); ++i) {
    const Tensor& t = file.tensors()[i];
    EXPECT_EQ(t.name, encodings()[i].name);
    EXPECT_EQ(t.encoding, encodings()[i].encoding);
    EXPECT_EQ(t.shape, (std::vector<uint64_t>{3 * encodings()[i].block_elements, 2, 2}));
    for (const std::byte b : t.data) ASSERT_EQ(b, static_cast<std::byte>(i + 1)) << t.name;
  }
}

TEST(GgufWriter, RefusesWhatNoReaderWouldTake) {
  Writer writer;
  writer.set("key", true);
  writer.add_tensor("t", Encoding::f32, {4});
  const auto refuses = [](const std::function<void()>& action, const char* part) {
    expect_error(action, ErrorCode::invalid_argument, {part});
  };
  refuses([&] { writer.set("", true); }, "empty");
  refuses([&] { writer.set("key", false); }, "'key'");
  refuses([&] { writer.set("general.alignment", uint32_t{64}); }, "general.alignment");
  refuses([&] { writer.add_tensor("", Encoding::f32, {4}); }, "empty");
  refuses([&] { writer.add_tensor("t", Encoding::f32, {4}); }, "twice");
  refuses([&] { writer.add_tensor("a", Encoding::f32, {}); }, "0 dimensions");
  refuses([&] { writer.add_tensor("a", Encoding::f32, {1, 1, 1, 1, 1}); }, "5 dimensions");
  refuses([&] { writer.add_tensor("a", Encoding::f32, {4, 0}); }, "dimension of 0");
  refuses(
      [&] {
        writer.add_tensor("a", Encoding::f32, {uint64_t{1} << 40, uint64_t{1} << 40});
      },
      "too large");
  refuses([&] { writer.add_tensor("a", Encoding::q4_k, {128}); }, "256");
  EXPECT_EQ(writer.data_bytes(), 32U);
}

Writer one_tensor(uint64_t elements) {
  Writer writer;
  writer.add_tensor("t", Encoding::f32, {elements});
  return writer;
}

TEST(GgufWriter, WrongAmountOfDataLeavesNothing) {
  for (const size_t given : {0U, 3U, 5U}) {
    const test::TemporaryFolder folder;
    expect_error(
        [&] {
          one_tensor(4).write(folder / "out.gguf", [&](size_t, const Writer::Sink& sink) {
            sink(bytes_of(std::vector<float>(given)));
          });
        },
        ErrorCode::invalid_argument, {"'t'", "16 bytes", std::to_string(given * 4)});
    EXPECT_TRUE(folder.empty());
  }
}

TEST(GgufWriter, FailureKeepsTheFileThatWasThere) {
  const test::TemporaryFolder folder;
  const std::string path = folder.write("out.gguf", "before");
  EXPECT_THROW(
      one_tensor(4).write(path, [](size_t, const Writer::Sink&) { throw std::runtime_error("stop"); }),
      std::runtime_error);
  EXPECT_EQ(test::read_file(path), "before");
}

TEST(GgufWriter, FullDeviceIsOneClearError) {
  constexpr size_t kElements = size_t{1} << 20;
  expect_error(
      [&] {
        one_tensor(kElements).write("/dev/full", [&](size_t, const Writer::Sink& sink) {
          sink(bytes_of(std::vector<float>(kElements)));
        });
      },
      ErrorCode::io, {"/dev/full", "No space left on device"});
}

// A limit on file sizes stands in for a full disk: the write fails half way through.
TEST(GgufWriter, DiskThatFillsUpLeavesNothing) {
  const test::TemporaryFolder folder;
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = rlim_t{2} << 20;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  constexpr size_t kElements = size_t{1} << 20;
  expect_error(
      [&] {
        one_tensor(kElements).write(folder / "out.gguf", [&](size_t, const Writer::Sink& sink) {
          sink(bytes_of(std::vector<float>(kElements)));
        });
      },
      ErrorCode::io, {"out.gguf", "File too large"});
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(folder.empty());
}

TEST(GgufWriter, FolderThatDoesNotExist) {
  const test::TemporaryFolder folder;
  expect_error([&] { Writer().write(folder / "none/out.gguf", nullptr); }, ErrorCode::io, {"none/out.gguf"});
}

}  // namespace
}  // namespace cairn::gguf
