// quantize as a program: what it writes runs, and what it cannot do it says in one line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/temporary_folder.hpp"
#include "formats/gguf.hpp"
#include "session_program.hpp"

namespace cairn::cli {
namespace {

using cairn::testing::read_file;
using cairn::testing::TemporaryFolder;
using cairn::testing::write_file;
using ::testing::HasSubstr;

class QuantizeCommand : public ::testing::Test {
 protected:
  QuantizeCommand() {
    std::string words;
    for (int i = 0; i < 300; ++i)
      words += "the cat sat on that mat and then " + std::to_string(i * 7919) + " ";
    write_file(text_, words);
  }
  std::vector<std::string> quantize(const std::string& type, std::vector<std::string> more = {}) const {
    std::vector<std::string> all = {"quantize", model_,      "--type", type,     "-o",
                                    out_,       "--threads", "1",      "--force"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::string output(const std::vector<std::string>& arguments) {
    Program program(arguments);
    program.close_input();
    EXPECT_EQ(program.status(), 0) << program.err;
    return program.out;
  }
  void refuse(const std::vector<std::string>& arguments, int status, const std::vector<std::string>& parts) {
    Program program(arguments);
    program.close_input();
    EXPECT_EQ(program.status(), status) << program.err;
    EXPECT_EQ(program.out, "");
    EXPECT_EQ(std::count(program.err.begin(), program.err.end(), '\n'), 1) << program.err;
    for (const std::string& part : parts) EXPECT_THAT(program.err, HasSubstr(part));
  }
  double perplexity(const std::string& model) {
    return nlohmann::json::parse(
               output({"eval", model, "--perplexity", text_, "--context", "128", "--json", "--threads", "1"}))
        .at("perplexity");
  }

  TemporaryFolder folder_;
  const std::string model_ = std::string(CAIRN_TEST_DATA) + "/golden_models/llama.gguf";
  const std::string text_ = folder_ / "text", out_ = folder_ / "out.gguf", imatrix_ = folder_ / "im.gguf";
};

TEST_F(QuantizeCommand, WritesAModelThatPredictsAlmostAlike) {
  const auto report = nlohmann::json::parse(output(quantize("Q8_0", {"--json"})));
  EXPECT_EQ(report["type"], "q8_0");
  EXPECT_EQ(report["output"], out_);
  EXPECT_GT(report["encodings"]["q8_0"], 5);
  EXPECT_NEAR(report["bits"].get<double>(), 8.5, 1.5);
  EXPECT_NEAR(perplexity(out_) / perplexity(model_), 1, 0.01);
  EXPECT_EQ(gguf::File(out_).integer("general.file_type"), 7U);
  EXPECT_THAT(output(quantize("q4_0")), HasSubstr("bits a weight"));
}

TEST_F(QuantizeCommand, MeasuresImportanceOnceAndTakesItFromAFile) {
  output(quantize("q4_0", {"--text", text_, "--chunks", "2", "--save-imatrix", imatrix_}));
  const std::string measured = read_file(out_);
  const gguf::File file(out_);
  EXPECT_EQ(file.text("quantize.imatrix.dataset"), "text");
  EXPECT_EQ(file.integer("quantize.imatrix.chunks_count"), 2U);
  output(quantize("q4_0", {"--imatrix", imatrix_}));
  const gguf::File other(out_);
  EXPECT_EQ(other.text("quantize.imatrix.file"), "im.gguf");
  ASSERT_EQ(other.tensors().size(), file.tensors().size());
  output(quantize("q4_0"));
  EXPECT_NE(read_file(out_), measured);
}

TEST_F(QuantizeCommand, RefusesInOneLine) {
  refuse(quantize("q4_9"), 2, {"q4_9", "q4_k_m", "q8_0"});
  refuse({"quantize", model_, "--type", "q8_0", "-o", model_, "--force"}, 2, {"llama.gguf"});
  write_file(text_, "too short");
  refuse(quantize("q4_0", {"--text", text_}), 2, {"tokens"});
  refuse(quantize("q4_0", {"--imatrix", model_}), 1, {"llama.gguf", "in_sum2"});
  refuse(quantize("q4_0", {"--imatrix", folder_ / "nothing"}), 1, {"nothing"});
  EXPECT_FALSE(std::filesystem::exists(out_));
}

TEST_F(QuantizeCommand, SendsStacksToTrim) {
  const std::string stack = folder_ / "some.stack.gguf";
  output({"stack", model_, "-o", stack, "--sweeps", "0", "--threads", "1"});
  refuse({"quantize", stack, "--type", "q8_0", "-o", out_}, 1,
         {"some.stack.gguf", "is a stack", "trim --dequantize"});
  output({"trim", stack, "--bits", "4", "--dequantize", "-o", folder_ / "plain.gguf"});
  output({"quantize", folder_ / "plain.gguf", "--type", "q8_0", "-o", out_});
}

}  // namespace
}  // namespace cairn::cli
