// calibrate as a program, and eval with what it wrote, on a tiny model of tests/data.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/temporary_folder.hpp"
#include "resident/plain_stack.hpp"
#include "session_program.hpp"

namespace cairn::cli {
namespace {

using cairn::testing::read_file;
using cairn::testing::TemporaryFolder;
using cairn::testing::write_file;
using ::testing::HasSubstr;

class CalibrateCommand : public ::testing::Test {
 protected:
  CalibrateCommand() {
    std::string words;
    for (int i = 0; i < 200; ++i)
      words += "the cat sat on that mat and then " + std::to_string(i * 7919) + " ";
    write_file(text_, words);
    write_file(lambada_, "{\"text\": \"the cat sat on that mat\"}\n{\"text\": \"and then\"}\n");
  }
  std::vector<std::string> calibrate(std::vector<std::string> more = {}) const {
    std::vector<std::string> all = {"calibrate",      model_, "--text",          text_, "-o",        cal_,
                                    "--window",       "128",  "--windows",       "4",   "--threads", "1",
                                    "--cost-windows", "1",    "--whole-windows", "1",   "--force"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::string output(const std::vector<std::string>& arguments) {
    Program program(arguments);
    program.close_input();
    EXPECT_EQ(program.status(), 0) << program.err;
    return program.out;
  }
  std::string refusal(const std::vector<std::string>& arguments, int status) {
    Program program(arguments);
    program.close_input();
    EXPECT_EQ(program.status(), status);
    EXPECT_EQ(program.out, "");
    EXPECT_EQ(std::count(program.err.begin(), program.err.end(), '\n'), 1) << program.err;
    return program.err;
  }
  nlohmann::json eval(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"eval", model_, "--json", "--threads", "1"});
    return nlohmann::json::parse(output(arguments));
  }

  TemporaryFolder folder_;
  const std::string model_ = std::string(CAIRN_TEST_DATA) + "/golden_models/llama.gguf";
  const std::string text_ = folder_ / "text", lambada_ = folder_ / "lambada.jsonl",
                    cal_ = folder_ / "llama.cal";
};

TEST_F(CalibrateCommand, WritesASidecarThatEvalRuns) {
  const std::string page = folder_ / "page.html";
  const auto report = nlohmann::json::parse(output(calibrate({"--html", page, "--json"})));
  EXPECT_EQ(report["tokens"], 4 * 128);
  EXPECT_EQ(report["whole"].size(), 12U);
  EXPECT_EQ(report["times"][0]["device"], "cpu");
  EXPECT_GT(report["times"][0]["seconds"]["qkv"][0].get<double>(), 0);
  EXPECT_THAT(read_file(page), HasSubstr("Fig. 12"));
  EXPECT_EQ(std::filesystem::exists(cal_ + ".calibrate.partial"), false);

  const double f32 =
      eval({"--perplexity", text_, "--context", "64", "--precision", "f32"})["perplexity"].get<double>();
  const std::vector<std::vector<std::string>> ways = {{"naive"},
                                                      {"naive", "--weights", "row"},
                                                      {"smoothquant"},
                                                      {"mixed"},
                                                      {"token"},
                                                      {"token", "--static"},
                                                      {"rotation"},
                                                      {"rotation", "--static"},
                                                      {"shadow", "--threshold", "99.9"},
                                                      {"shadow", "--rotate"},
                                                      {"shadow", "--prune", "0.5", "--pruned", "range"},
                                                      {"auto", "--budget", "5"}};
  for (const auto& way : ways) {
    std::vector<std::string> arguments = {"--perplexity",  text_, "--context", "64",
                                          "--calibration", cal_,  "--quantize"};
    arguments.insert(arguments.end(), way.begin(), way.end());
    const auto found = eval(arguments);
    EXPECT_NEAR(found["perplexity"].get<double>(), f32, 0.05 * f32) << way[0];
    EXPECT_NE(found["perplexity"].get<double>(), f32) << way[0];
    EXPECT_EQ(found["quantize"], way[0]);
    if (way[0] != "mixed") {
      EXPECT_EQ(found["shadow_elements"].get<uint64_t>() > 0, way[0] == "shadow") << way[0];
    }
  }
}

TEST_F(CalibrateCommand, EvalTellsHowFarASchemeIsFromFloat) {
  output(calibrate({"--no-costs", "--no-times"}));
  const auto report =
      eval({"--perplexity", text_, "--context", "64", "--calibration", cal_, "--quantize", "shadow",
            "--prune", "0.5", "--pruned", "float", "--against-f32", "--lambada", lambada_});
  EXPECT_GT(report["mean_kl"].get<double>(), 0);
  EXPECT_GT(report["top1"].get<double>(), 0.5);
  EXPECT_DOUBLE_EQ(report["shadow_inputs"].get<double>(), 0.5);
  EXPECT_THAT(report["scheme"].get<std::string>(), HasSubstr("prune 50 % (float)"));
  EXPECT_EQ(report["passages"], 2);
}

TEST_F(CalibrateCommand, RefusesInOneLine) {
  output(calibrate({"--no-costs", "--no-times"}));
  const std::string other = std::string(CAIRN_TEST_DATA) + "/golden_models/qwen2.gguf";
  const std::vector<std::string> shadow = {"--perplexity", text_,    "--context",    "64",
                                           "--quantize",   "shadow", "--calibration"};
  const auto with = [&](const std::string& model, const std::string& sidecar) {
    std::vector<std::string> all = {"eval", model};
    all.insert(all.end(), shadow.begin(), shadow.end());
    all.push_back(sidecar);
    return all;
  };
  EXPECT_THAT(refusal(with(other, cal_), 2), HasSubstr("made for another model"));
  EXPECT_THAT(refusal(with(model_, text_), 1), HasSubstr(text_));
  EXPECT_THAT(refusal(with(model_, folder_ / "none"), 1), HasSubstr("none"));
  EXPECT_THAT(refusal({"eval", model_, "--perplexity", text_, "--quantize", "shadow"}, 2),
              HasSubstr("'shadow' needs a calibration (cairn calibrate)"));
  EXPECT_THAT(
      refusal({"eval", model_, "--perplexity", text_, "--calibration", cal_, "--quantize", "auto"}, 2),
      HasSubstr("the calibration has none"));
  EXPECT_THAT(refusal({"eval", model_, "--perplexity", text_, "--calibration", cal_, "--quantize", "shadow",
                       "--threshold", "50"},
                      2),
              HasSubstr("99.9"));
  EXPECT_THAT(
      refusal({"eval", model_, "--perplexity", text_, "--quantize", "token", "--precision", "f32"}, 2),
      HasSubstr("--precision f32"));
  EXPECT_THAT(refusal(calibrate({"--force", "--device", "abacus"}), 2), HasSubstr("abacus"));
  const std::string stack = folder_ / "stack.gguf";
  resident::write_plain_stack(model_, stack, {.rows_per_group = 16});
  EXPECT_THAT(refusal({"calibrate", stack, "--text", text_, "-o", folder_ / "stack.cal"}, 1),
              HasSubstr("stack.gguf: is a stack"));
  write_file(text_, "the cat");
  EXPECT_THAT(refusal(calibrate({"--force"}), 2), HasSubstr("the calibration text is too short"));
}

TEST_F(CalibrateCommand, ControlCKeepsWhatWasDone) {
  std::string words;
  for (int i = 0; i < 60'000; ++i) words += "the cat sat on that mat and then ";
  write_file(text_, words);
  std::vector<std::string> arguments = {"calibrate", model_,     "--text",     text_,        "-o",
                                        cal_,        "--window", "128",        "--windows",  "1500",
                                        "--threads", "1",        "--no-costs", "--no-times", "--checkpoint"};
  arguments.push_back("0");  // after every window: there are hundreds left when the first one is seen
  Program program(arguments);
  program.close_input();
  while (!std::filesystem::exists(cal_ + ".calibrate.partial")) {
    ASSERT_FALSE(std::filesystem::exists(cal_)) << "it ended before its first checkpoint";
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  program.signal(SIGINT);
  EXPECT_EQ(program.status(), 130);
  EXPECT_THAT(program.err, HasSubstr("interrupted"));
  EXPECT_TRUE(std::filesystem::exists(cal_ + ".calibrate.partial"));
  EXPECT_FALSE(std::filesystem::exists(cal_));
  arguments.back() = "20";
  output(arguments);
  EXPECT_TRUE(std::filesystem::exists(cal_));
  EXPECT_FALSE(std::filesystem::exists(cal_ + ".calibrate.partial"));
}

}  // namespace
}  // namespace cairn::cli
