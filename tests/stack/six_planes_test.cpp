// A stack of six planes and exact rows, made before there was a seventh plane (commit 4609f24) of
// golden_models/llama.gguf: cairn stack llama.gguf --exact --embeddings planes --text late.txt --windows 4
// --importance-windows 2 --window 64 The logits are what that commit computed of it and of its prefixes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.hpp"
#include "base/temporary_folder.hpp"
#include "llm/model.hpp"
#include "stack/curve.hpp"
#include "stack/restore.hpp"
#include "stack/verify.hpp"

namespace cairn::stack {
namespace {

const std::string kFile = std::string(CAIRN_TEST_DATA) + "/stack_six_planes.gguf";

std::vector<float> logits(const std::string& path, engine::Precision precision) {
  const auto model = llm::Model::load(path);
  const auto engine = model->make_engine({.context = 64, .threads = 1, .precision = precision});
  const auto sequence = engine->make_sequence();
  std::vector<int32_t> tokens(12);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(3 + i * 5 % 40);
  std::vector<float> out(engine->model().parameters.vocabulary);
  engine->step({sequence.get(), tokens});
  const int32_t next = 7;
  engine->step({sequence.get(), {&next, 1}, engine::Logits::last, out.data()});
  return out;
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, power = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += std::pow(static_cast<double>(a[i] - b[i]), 2);
    power += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(error / power);
}

TEST(SixPlanes, AFileOfThemIsTheModelThatItWas) {
  const Reader reader(kFile);
  const Layout& layout = reader.layout();
  EXPECT_EQ(layout.planes(), 6);
  for (const Block& block : layout.blocks) ASSERT_LE(block.level, 7);
  EXPECT_TRUE(verify(reader).bad.empty());
  EXPECT_EQ(to_json(layout)["planes"], 6);
  const auto golden =
      nlohmann::json::parse(std::ifstream(std::string(CAIRN_TEST_DATA) + "/stack_six_planes.json"));
  ASSERT_EQ(golden.size(), 4u);
  const cairn::testing::TemporaryFolder folder;
  for (const auto& expected : golden) {
    const auto count = expected["blocks"].get<size_t>();
    const std::string prefix = folder / "prefix.gguf";
    write_prefix(reader, count, prefix);
    EXPECT_EQ(std::filesystem::file_size(prefix), expected["file_bytes"].get<uint64_t>());
    EXPECT_EQ(read_layout(gguf::File(prefix)).planes(), 6) << count;
    // Instruction sets differ in the order of floats' sums, and by that in what is rounded to 8 bits.
    EXPECT_LT(distance(logits(prefix, engine::Precision::f32), expected["f32"]), 2e-5) << count;
    EXPECT_LT(distance(logits(prefix, engine::Precision::standard), expected["standard"]), 5e-3) << count;
  }
}

// A cairn that knows of six planes only can read what is trimmed of such a file.
TEST(SixPlanes, AllOfItTrimmedIsTheSameFile) {
  const cairn::testing::TemporaryFolder folder;
  const Reader reader(kFile);
  write_prefix(reader, reader.layout().blocks.size(), folder / "whole.gguf");
  EXPECT_TRUE(cairn::testing::read_file(folder / "whole.gguf") == cairn::testing::read_file(kFile));
}

// Without checksums, as the first version had none, whatever a header says is read or refused.
TEST(SixPlanes, AHeaderMayLie) {
  std::string bytes = cairn::testing::read_file(kFile);
  const std::string key = "cairn.stack.version";
  bytes[bytes.find(key) + key.size() + sizeof(uint32_t)] = 1;
  const uint64_t header = Reader(kFile).layout().blocks_begin;
  const cairn::testing::TemporaryFolder folder;
  std::mt19937 random(18);
  size_t read = 0, refused = 0;
  for (int i = 0; i < 400; ++i) {
    std::string changed = bytes;
    for (unsigned count = 1 + random() % 3; count > 0; --count)
      changed[random() % header] = static_cast<char>(random());
    cairn::testing::write_file(folder / "lie.gguf", changed);
    try {
      const Reader reader(folder / "lie.gguf");
      verify(reader);
      to_json(reader.layout());
      ++read;
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(read, 0u);
  EXPECT_GT(refused, 0u);
}

TEST(SixPlanes, RestoresTheSource) {
  const Reader reader(kFile);
  const gguf::File source(std::string(CAIRN_TEST_DATA) + "/golden_models/llama.gguf");
  const cairn::testing::TemporaryFolder folder;
  ThreadPool pool(1);
  write_restored(reader, reader.layout().blocks.size(), folder / "restored.gguf", pool);
  const gguf::File restored(folder / "restored.gguf");
  for (const Matrix& m : reader.layout().matrices) {
    const auto a = source.tensor(m.name).data, b = restored.tensor(m.name).data;
    ASSERT_EQ(source.tensor(m.name).encoding, Encoding::f16);
    EXPECT_TRUE(std::ranges::equal(a, b)) << m.name;
  }
}

}  // namespace
}  // namespace cairn::stack
