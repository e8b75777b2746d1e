// `cairn embed`: from checkpoints to vectors, against transformers (tools/make_convert_golden.py,
// golden_embedders.py); who else refuses such a model, and how.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/temporary_folder.hpp"
#include "graph/golden_models.hpp"
#include "session_program.hpp"

namespace cairn::cli {
namespace {

using cairn::testing::read_file;
using cairn::testing::TemporaryFolder;
using cairn::testing::write_file;
using ::testing::HasSubstr;
using Json = nlohmann::json;
using Vector = std::vector<double>;

const std::string kData = CAIRN_TEST_DATA;
const std::string kBert = graph::golden_model_path("bert");

double largest_difference(const Vector& a, const Vector& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

std::string run(std::vector<std::string> arguments, const std::string& input = {}) {
  Program program(std::move(arguments));
  program.write(input);
  program.close_input();
  EXPECT_EQ(program.status(), 0) << program.err;
  return program.out;
}

TEST(Embed, OfConvertedCheckpointsIsTransformers) {
  const TemporaryFolder folder;
  for (const std::string name : {"bert", "bert-masked", "qwen3-embedding", "qwen2-model", "qwen3-model"}) {
    SCOPED_TRACE(name);
    const std::string at = kData + "/convert/" + name, file = folder / (name + ".gguf");
    run({"convert", at + "/" + name, "-o", file, "--type", "f32"});
    const Json golden = Json::parse(read_file(at + "/embedding.json"));
    const Json found = Json::parse(run({"embed", file, golden["text"], "--precision", "f32", "--json"}));
    EXPECT_EQ(found["dimensions"], 16);
    EXPECT_EQ(found["data"][0]["tokens"], golden["tokens"]);
    EXPECT_LT(largest_difference(found["data"][0]["embedding"], golden["embedding"]), 1e-5);
  }
}

TEST(Embed, TakesLinesAndWordsAndCuts) {
  const TemporaryFolder folder;
  write_file(folder / "lines", "a cairn\r\nof stones\n\n");
  const std::string words = run({"embed", kBert, "a cairn", "of stones", ""});
  EXPECT_EQ(run({"embed", kBert, "-f", folder / "lines"}), words);
  EXPECT_EQ(run({"embed", kBert}, "a cairn\nof stones\n\n"), words);
  EXPECT_EQ(run({"embed", kBert}), "");
  const Vector whole = Json::parse(words.substr(0, words.find('\n'))).get<Vector>();
  ASSERT_EQ(whole.size(), 32u);
  const Vector raw = Json::parse(run({"embed", kBert, "a cairn", "--dimensions", "5", "--no-normalize"}));
  ASSERT_EQ(raw.size(), 5u);
  for (size_t i = 1; i < 5; ++i) EXPECT_NEAR(raw[i] / raw[0], whole[i] / whole[0], 1e-5);
  double length = 0;
  for (const double x : whole) length += x * x;
  EXPECT_NEAR(length, 1, 1e-6);
  EXPECT_NE(run({"embed", kBert, "a cairn", "--pooling", "first"}), words.substr(0, words.find('\n') + 1));
}

void refuse(std::vector<std::string> arguments, const std::string& line, int status = 1) {
  Program program(std::move(arguments));
  program.close_input();
  EXPECT_EQ(program.status(), status) << program.err;
  EXPECT_EQ(program.out, "");
  EXPECT_THAT(program.err, HasSubstr(line));
  EXPECT_EQ(std::count(program.err.begin(), program.err.end(), '\n'), 1) << program.err;
}

TEST(Embed, RefusesInOneLine) {
  std::string long_text;
  for (int i = 0; i < 63; ++i) long_text += "a ";
  refuse({"embed", kBert, "a", long_text}, "text 2: has 65 tokens, the context holds 64", 2);
  refuse({"embed", kBert, "a", "--dimensions", "33"}, "--dimensions 33 is more than the 32", 2);
  refuse({"embed", kBert, "a", "-f", "x"}, "texts are given twice: 'a', and by -f", 2);
  refuse({"embed", kBert, "-f", "nowhere"}, "nowhere: No such file", 1);
}

TEST(Embed, WhoWantsTextOfSuchAModelIsRefused) {
  const TemporaryFolder folder;
  write_file(folder / "text", std::string(4000, 'a') + " stone");
  const std::string no_text = kBert + ": architecture 'bert' makes embeddings, no text (see `cairn embed`)";
  refuse({"run", kBert, "hello"}, no_text);
  refuse({"chat", kBert}, no_text);
  refuse({"bench", kBert, "--prompt", "8", "--generate", "2"}, no_text);
  refuse({"eval", kBert, "--perplexity", folder / "text"}, no_text);
  const std::string unknown = "not know attention to what lies behind: architecture 'bert' makes embeddings";
  refuse({"stack", kBert, "--text", folder / "text", "-o", folder / "s.gguf"}, unknown);
  refuse({"calibrate", kBert, "--text", folder / "text", "-o", folder / "c.json"}, unknown);
}

TEST(Embed, QuantizedModelsMakeNearlyTheSame) {
  const TemporaryFolder folder;
  const Vector wanted = Json::parse(run({"embed", kBert, "the stones"}));
  for (const char* type : {"q8_0", "q4_0", "f32"}) {
    const std::string file = folder / type;
    run({"quantize", kBert, "--type", type, "-o", file});
    const Vector found = Json::parse(run({"embed", file, "the stones"}));
    double product = 0;
    for (size_t i = 0; i < found.size(); ++i) product += found[i] * wanted[i];
    EXPECT_GT(product, type[1] == '4' ? 0.95 : 0.999) << type;
  }
}

}  // namespace
}  // namespace cairn::cli
