// A checkpoint opened as a model is the file that it would become.
#include "convert/open.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/expect_error.hpp"
#include "copied_checkpoint.hpp"

namespace cairn::convert {
namespace {

namespace fs = std::filesystem;
using cairn::testing::TemporaryFolder;

TEST(Open, IsWhatConvertWrites) {
  const auto ignore = [](uint64_t, uint64_t) {};
  for (const auto& entry : fs::directory_iterator(std::string(CAIRN_TEST_DATA) + "/convert")) {
    const std::string folder = (entry.path() / entry.path().filename()).string();
    SCOPED_TRACE(folder);
    for (const Type type : {Type::automatic, Type::f32}) {
      const TemporaryFolder out, beside;
      convert(folder, type, out / "out.gguf", ignore);
      const gguf::File file(out / "out.gguf"), opened = open(folder, type, beside.path(), ignore);
      EXPECT_EQ(beside.entries(), 0u);
      EXPECT_EQ(opened.path(), folder);
      EXPECT_EQ(opened.file_bytes(), file.file_bytes());
      ASSERT_EQ(opened.raw_metadata().size(), file.raw_metadata().size());
      for (size_t i = 0; i < file.raw_metadata().size(); ++i) {
        EXPECT_EQ(opened.raw_metadata()[i].first, file.raw_metadata()[i].first);
        EXPECT_TRUE(std::ranges::equal(opened.raw_metadata()[i].second, file.raw_metadata()[i].second));
      }
      ASSERT_EQ(opened.tensors().size(), file.tensors().size());
      for (size_t i = 0; i < file.tensors().size(); ++i) {
        const gguf::Tensor &a = opened.tensors()[i], &b = file.tensors()[i];
        EXPECT_EQ(a.name, b.name);
        EXPECT_EQ(a.encoding, b.encoding);
        EXPECT_EQ(a.shape, b.shape);
        EXPECT_TRUE(std::ranges::equal(a.data, b.data)) << b.name;
        EXPECT_EQ(&opened.tensor(b.name), &a);
      }
      opened.require_whole();
    }
  }
}

TEST(Open, OutlivesTheFolderAndTellsWhatIsCut) {
  const cairn::testing::CopiedCheckpoint checkpoint("qwen2");
  const TemporaryFolder beside;
  const gguf::File opened =
      open(checkpoint.path(), Type::automatic, beside.path(), [](uint64_t, uint64_t) {});
  fs::resize_file(checkpoint / "model.safetensors", 100);
  cairn::testing::expect_error(ErrorCode::io, "model.safetensors", [&] { opened.require_whole(); });
  const gguf::Tensor& norm = opened.tensor("output_norm.weight");  // converted, so that it is kept
  EXPECT_EQ(norm.encoding, Encoding::f32);
  float sum = 0;
  for (size_t i = 0; i < norm.elements(); ++i) {
    float value;
    std::memcpy(&value, norm.data.data() + i * sizeof(float), sizeof(float));
    sum += std::abs(value);
  }
  EXPECT_GT(sum, 0);
}

TEST(Open, NeedsAFolderThatCanBeWritten) {
  const std::string folder = std::string(CAIRN_TEST_DATA) + "/convert/qwen2/qwen2";
  cairn::testing::expect_error(ErrorCode::io, "/nowhere/at/all: cannot keep what is converted there", [&] {
    open(folder, Type::automatic, "/nowhere/at/all", [](uint64_t, uint64_t) {});
  });
}

}  // namespace
}  // namespace cairn::convert
