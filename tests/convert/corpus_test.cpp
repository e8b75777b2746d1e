// The fuzzer's seeds, and what it once found, convert or are refused with an Error.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.hpp"
#include "base/temporary_folder.hpp"
#include "convert/convert.hpp"
#include "formats/gguf.hpp"

namespace cairn::convert {
namespace {

namespace fs = std::filesystem;
using cairn::testing::TemporaryFolder;
using cairn::testing::write_file;

// As fuzz/fuzz_checkpoint.cpp has it.
constexpr const char* kTokenizer =
    R"({"added_tokens": [], "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})";

TEST(Corpus, CheckpointsConvertOrAreRefused) {
  size_t converted = 0;
  for (const auto& entry :
       fs::directory_iterator(fs::path(CAIRN_TEST_DATA) / "../../fuzz/corpus/checkpoint")) {
    const std::string input = cairn::testing::read_file(entry.path().string());
    const size_t end = input.find('\0');
    SCOPED_TRACE(entry.path());
    const TemporaryFolder folder, out;
    write_file(folder / "config.json", input.substr(0, end));
    write_file(folder / "model.safetensors", end == std::string::npos ? "" : input.substr(end + 1));
    write_file(folder / "tokenizer.json", kTokenizer);
    try {
      convert(folder.path(), Type::automatic, out / "out.gguf", [](uint64_t, uint64_t) {});
      EXPECT_FALSE(gguf::File(out / "out.gguf").tensors().empty());
      ++converted;
    } catch (const Error& error) {
      const std::string name = entry.path().filename().string();
      // Of Gemma 4 all is read but the tokenizer, which is of another kind.
      const bool tokenizer =
          name == "gemma4" && std::string(error.what()).find("byte fallback") != std::string::npos;
      EXPECT_TRUE(name.starts_with("regression-") || tokenizer) << error.what();
    }
  }
  EXPECT_GE(converted, 11u);
}

}  // namespace
}  // namespace cairn::convert
