// tests/data/convert: what llama.cpp's converter made of each checkpoint (tools/make_convert_golden.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/sha256.hpp"
#include "base/temporary_folder.hpp"
#include "convert/convert.hpp"
#include "copied_checkpoint.hpp"
#include "formats/gguf.hpp"
#include "graph/graph.hpp"
#include "text/tokenizer.hpp"

namespace cairn::convert {
namespace {

namespace fs = std::filesystem;
using cairn::testing::read_file;
using cairn::testing::TemporaryFolder;

const std::string kData = std::string(CAIRN_TEST_DATA) + "/convert/";

std::string sha256(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex();
}

class Golden : public ::testing::TestWithParam<std::string> {
 protected:
  const std::string folder_ = kData + GetParam() + "/" + GetParam();
  const nlohmann::json expected_ = nlohmann::json::parse(read_file(kData + GetParam() + "/expected.json"));
  const TemporaryFolder out_;
};

Type type_named(const std::string& name) {
  return name == "f32"    ? Type::f32
         : name == "f16"  ? Type::f16
         : name == "bf16" ? Type::bf16
                          : Type::automatic;
}

TEST_P(Golden, IsWhatLlamaCppWrites) {
  const std::string path = out_ / "out.gguf";
  uint64_t last = 0, all = 0;
  convert(folder_, type_named(expected_["type"]), path, [&](uint64_t done, uint64_t total) {
    EXPECT_GE(done, last);
    last = done;
    all = total;
  });
  EXPECT_LE(last, all);
  const gguf::File file(path);
  std::map<std::string, std::string> values;
  for (const auto& [key, bytes] : file.raw_metadata()) values.emplace(key, sha256(bytes));
  for (const auto& [key, value] : expected_["metadata"].items()) {
    EXPECT_TRUE(values.contains(key)) << key << " is missing, it should be " << value[1];
    if (values.contains(key)) EXPECT_EQ(values[key], value[0]) << key << " should be " << value[1];
    values.erase(key);
  }
  for (const auto& [key, ignored] : values) ADD_FAILURE() << key << " is superfluous";
  ASSERT_EQ(file.tensors().size(), expected_["tensors"].size());
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    const gguf::Tensor& tensor = file.tensors()[i];
    const nlohmann::json& wanted = expected_["tensors"][i];
    EXPECT_EQ(tensor.name, wanted[0].get<std::string>());
    EXPECT_EQ(static_cast<uint32_t>(tensor.encoding), wanted[1]) << tensor.name;
    EXPECT_EQ(nlohmann::json(tensor.shape), wanted[2]) << tensor.name;
    EXPECT_EQ(sha256(tensor.data), wanted[3]) << tensor.name;
  }
}

TEST_P(Golden, IsAModelThatCairnRuns) {
  const std::string path = out_ / "out.gguf";
  convert(folder_, Type::automatic, path, [](uint64_t, uint64_t) {});
  const gguf::File file(path);
  const graph::Model model = graph::load(file);
  const auto tokenizer = text::make_tokenizer(file);
  const std::string text = "The cairn stands where 2 paths meet.";
  const std::vector<text::Token> tokens = tokenizer->encode(text, {.add_bos = false, .add_eos = false});
  EXPECT_LT(tokens.size(), text.size());
  for (const text::Token token : tokens) EXPECT_LT(token, static_cast<int64_t>(model.parameters.vocabulary));
  // BERT's knows neither what blanks there were nor, in one of the two, which letters were capital.
  const bool bert = model.parameters.architecture == "bert";
  const std::string same = bert && GetParam() == "bert" ? "the cairn stands where 2 paths meet ."
                           : bert                       ? "The cairn stands where 2 paths meet ."
                                                        : text;
  EXPECT_EQ(tokenizer->decode(tokens), same);
}

std::vector<std::string> cases() {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(kData)) out.push_back(entry.path().filename().string());
  std::sort(out.begin(), out.end());
  return out;
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, Golden, ::testing::ValuesIn(cases()), [](const auto& info) {
  std::string name = info.param;
  std::erase_if(name, [](unsigned char c) { return std::isalnum(c) == 0; });
  return name;
});

// Which llama.cpp's converter leaves out, and transformers does.
TEST(Mixtures, WeightsThatAreNotNormalisedAreSaid) {
  const cairn::testing::CopiedCheckpoint checkpoint("qwen3moe");
  checkpoint.edit("config.json", [](nlohmann::json& j) { j["norm_topk_prob"] = false; });
  const TemporaryFolder out;
  convert(checkpoint.path(), Type::automatic, out / "out.gguf", [](uint64_t, uint64_t) {});
  EXPECT_FALSE(graph::load(gguf::File(out / "out.gguf")).parameters.normalise_experts);
}

TEST(Cases, CoverEveryFamily) {
  std::set<std::string> families;
  for (const std::string& name : cases()) {
    const auto expected = nlohmann::json::parse(read_file(kData + name + "/expected.json"));
    families.insert(expected["metadata"]["general.architecture"][1].get<std::string>());
  }
  EXPECT_EQ(families.size(), 25u);
}

}  // namespace
}  // namespace cairn::convert
