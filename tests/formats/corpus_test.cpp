// The fuzzers' seeds, and what they once found, either read or are refused with an Error.
#include "formats/describe.hpp"
#include "formats/gguf.hpp"
#include "graph/graph.hpp"
#include "support.hpp"
#include "text/tokenizer.hpp"

namespace cairn {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> corpus(const char* name) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(fs::path(CAIRN_TEST_DATA) / "../../fuzz/corpus" / name))
    files.push_back(entry.path());
  return files;
}

bool regression(const fs::path& path) {
  return path.filename().string().starts_with("regression-");
}

TEST(Corpus, GgufSeedsReadOrAreRefused) {
  size_t read = 0;
  for (const fs::path& path : corpus("gguf")) {
    SCOPED_TRACE(path);
    try {
      EXPECT_FALSE(gguf::describe(gguf::File(path)).empty());
      ++read;
    } catch (const Error& error) {
      EXPECT_TRUE(regression(path) || path.filename().string().starts_with("split-")) << error.what();
    }
  }
  EXPECT_GE(read, 6U);
}

TEST(Corpus, ModelSeedsBuildGraphAndTokenizerOrAreRefused) {
  size_t built = 0;
  for (const fs::path& path : corpus("model")) {
    SCOPED_TRACE(path);
    try {
      const gguf::File file(path);
      EXPECT_GE(graph::load(file).layers.size(), 1U);
      const auto tokenizer = text::make_tokenizer(file);
      EXPECT_EQ(tokenizer->decode(tokenizer->encode("the interim", {.add_bos = false, .add_eos = false})),
                "the interim");
      ++built;
    } catch (const Error& error) {
      EXPECT_TRUE(regression(path)) << error.what();
    }
  }
  EXPECT_EQ(built, 19U);
}

}  // namespace
}  // namespace cairn
