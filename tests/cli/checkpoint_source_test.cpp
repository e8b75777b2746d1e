// `stack` and `quantize` of a checkpoint: the bytes that they make of the file that `convert` writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>

#include "base/temporary_folder.hpp"
#include "session_program.hpp"

namespace cairn::cli {
namespace {

namespace fs = std::filesystem;
using cairn::testing::read_file;
using cairn::testing::TemporaryFolder;
using cairn::testing::write_file;
using ::testing::HasSubstr;
using Json = nlohmann::json;

// One of tests/data/convert with a model wide enough to be stacked, of two layers of random bf16.
class Wide {
 public:
  explicit Wide(const std::string& name) {
    fs::copy(std::string(CAIRN_TEST_DATA) + "/convert/" + name + "/" + name, folder_.path(),
             fs::copy_options::recursive);
    Json config = Json::parse(read_file(folder_ / "config.json"));
    config.update({{"hidden_size", 64}, {"intermediate_size", 96}, {"head_dim", 16}});
    write_file(folder_ / "config.json", config.dump());
    add("model.embed_tokens.weight", {config["vocab_size"], 64});
    add("model.norm.weight", {64});
    for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
      for (const char* norm : {"input_layernorm.weight", "post_attention_layernorm.weight"})
        add(layer + norm, {64});
      for (const char* part : {"q", "k", "v"}) {
        const uint64_t rows = *part == 'q' ? 64 : 32;
        add(layer + "self_attn." + part + "_proj.weight", {rows, 64});
        if (name == "qwen2") add(layer + "self_attn." + part + "_proj.bias", {rows});
      }
      add(layer + "self_attn.o_proj.weight", {64, 64});
      for (const char* part : {"gate", "up"}) add(layer + "mlp." + part + "_proj.weight", {96, 64});
      add(layer + "mlp.down_proj.weight", {64, 96});
    }
    const std::string header = header_.dump();
    const uint64_t length = header.size();
    write_file(folder_ / "model.safetensors",
               std::string(reinterpret_cast<const char*>(&length), 8) + header + data_);
  }
  const std::string& path() const { return folder_.path(); }

 private:
  void add(const std::string& name, const std::vector<uint64_t>& shape) {
    const size_t begin = data_.size();
    uint64_t count = 1;
    for (const uint64_t n : shape) count *= n;
    for (uint64_t i = 0; i < count; ++i) {
      const float value = normal_(random_);
      data_.append(reinterpret_cast<const char*>(&value) + 2, 2);
    }
    header_[name] = {{"dtype", "BF16"}, {"shape", shape}, {"data_offsets", {begin, data_.size()}}};
  }

  const TemporaryFolder folder_;
  std::mt19937 random_{7};
  std::normal_distribution<float> normal_{0, 0.3F};
  Json header_;
  std::string data_;
};

class CheckpointSource : public ::testing::TestWithParam<const char*> {
 protected:
  std::string path(const std::string& name) const { return out_ / name; }
  const TemporaryFolder out_;
};

TEST_P(CheckpointSource, IsStackedAndQuantizedLikeItsFile) {
  const Wide checkpoint(GetParam());
  Program converted({"convert", checkpoint.path(), "-o", path("model.gguf")});
  ASSERT_EQ(converted.status(), 0) << converted.err;
  std::string text;
  for (int i = 0; i < 600; ++i) text += "stone " + std::to_string(i * 7919) + " lies on it. ";
  write_file(path("text.txt"), text);
  const std::vector<std::string> stacked = {"--text", path("text.txt"), "--windows", "4", "--window",
                                            "64",     "--sweeps",       "1"};
  const std::vector<std::string> quantized = {"--type", "q4_0", "--text", path("text.txt"), "--chunks", "2"};
  for (const auto& [command, flags] : {std::pair{"stack", stacked}, {"quantize", quantized}}) {
    std::vector<std::string> bytes;
    for (const std::string& source : {path("model.gguf"), checkpoint.path()}) {
      std::vector<std::string> words = {command, source, "-o", path("out.gguf"), "--force"};
      words.insert(words.end(), flags.begin(), flags.end());
      Program program(words);
      ASSERT_EQ(program.status(), 0) << program.err;
      bytes.push_back(read_file(path("out.gguf")));
    }
    EXPECT_TRUE(bytes[0] == bytes[1]) << command;
    EXPECT_GT(bytes[0].size(), 10000u);
  }
  EXPECT_EQ(out_.entries(), 3u);
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, CheckpointSource, ::testing::Values("qwen2", "llama3"));

TEST(CheckpointSourceErrors, AreOneLine) {
  const TemporaryFolder out;
  Program folder({"stack", out.path(), "-o", out / "s.gguf"});
  EXPECT_EQ(folder.status(), 1);
  EXPECT_EQ(folder.err, "cairn: " + out.path() + ": is a directory, not a model file\n");
  write_file(out / "config.json", "{}");
  Program empty({"stack", out.path(), "-o", out / "s.gguf"});
  EXPECT_EQ(empty.status(), 1);
  EXPECT_EQ(empty.err, "cairn: " + out.path() + ": holds no model.safetensors\n");
  const std::string narrow = std::string(CAIRN_TEST_DATA) + "/convert/qwen2/qwen2";
  Program none({"stack", narrow, "-o", out / "s.gguf"});
  EXPECT_EQ(none.status(), 2);
  EXPECT_EQ(none.err, "cairn: " + narrow + ": has no matrix to stack\n");
  const std::string mixture = std::string(CAIRN_TEST_DATA) + "/convert/gpt-oss/gpt-oss";
  Program refused({"stack", mixture, "-o", out / "s.gguf"});
  EXPECT_EQ(refused.status(), 1);
  EXPECT_THAT(refused.err, HasSubstr(mixture + ": "));
  Program input({"stack", narrow, "-o", narrow + "/tokenizer.json", "--force"});
  EXPECT_EQ(input.status(), 2);
  EXPECT_THAT(input.err, HasSubstr("is an input"));
  EXPECT_EQ(out.entries(), 1u);
}

}  // namespace
}  // namespace cairn::cli
