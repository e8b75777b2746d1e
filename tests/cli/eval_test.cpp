// eval as a program, on a tiny model of tests/data.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/temporary_folder.hpp"
#include "llm/tiny_model.hpp"
#include "resident/plain_stack.hpp"
#include "session_program.hpp"

namespace cairn::cli {
namespace {

using cairn::testing::read_file;
using cairn::testing::TemporaryFolder;
using cairn::testing::write_file;
using ::testing::HasSubstr;

class Eval : public ::testing::Test {
 protected:
  Eval() {
    std::string words;
    for (int i = 0; i < 60; ++i) words += "the cat sat on that mat and then ";
    write_file(text_, words);
    write_file(lambada_, "{\"text\": \"the cat sat on that mat\"}\n{\"text\": \"and then\"}\n");
  }

  nlohmann::json json(std::vector<std::string> arguments) { return json(std::move(arguments), model_); }
  static nlohmann::json json(std::vector<std::string> arguments, const std::string& model) {
    arguments.insert(arguments.begin(), {"eval", model, "--json", "--threads", "1"});
    Program program(arguments);
    program.close_input();
    EXPECT_EQ(program.status(), 0) << program.err;
    return nlohmann::json::parse(program.out);
  }

  std::string refusal(std::vector<std::string> arguments, int status) {
    arguments.insert(arguments.begin(), {"eval", model_, "--threads", "1"});
    Program program(arguments);
    program.close_input();
    EXPECT_EQ(program.status(), status);
    EXPECT_EQ(program.out, "");
    return program.err;
  }

  TemporaryFolder folder_;
  const std::string model_ = std::string(CAIRN_TEST_DATA) + "/golden_models/llama.gguf";
  const std::string text_ = folder_ / "text", lambada_ = folder_ / "lambada.jsonl";
};

TEST_F(Eval, PerplexityInBothPrecisions) {
  const auto standard = json({"--perplexity", text_, "--context", "32", "--limit", "3"});
  EXPECT_EQ(standard["tokens"], 3 * 31);
  EXPECT_EQ(standard["windows"], 3);
  EXPECT_EQ(standard["context"], 32);
  EXPECT_EQ(standard["precision"], "standard");
  EXPECT_GT(standard["perplexity"].get<double>(), 1);
  EXPECT_NE(standard["perplexity"], standard["perplexity_second_half"]);

  const auto f32 = json({"--perplexity", text_, "--context", "32", "--limit", "3", "--precision", "f32"});
  const auto both = json({"--perplexity", text_, "--context", "32", "--limit", "3", "--against-f32"});
  EXPECT_DOUBLE_EQ(both["perplexity"], standard["perplexity"]);
  EXPECT_DOUBLE_EQ(both["perplexity_f32"], f32["perplexity"]);
  EXPECT_GT(both["mean_kl"].get<double>(), 0);
  EXPECT_LT(both["mean_kl"].get<double>(), 0.05);
  EXPECT_GT(both["top1"].get<double>(), 0.5);
}

TEST_F(Eval, Lambada) {
  const auto report = json({"--lambada", lambada_});
  EXPECT_EQ(report["passages"], 2);
  EXPECT_DOUBLE_EQ(report["accuracy"], report["correct"].get<double>() / 2);
  EXPECT_EQ(json({"--lambada", lambada_, "--limit", "1"})["passages"], 1);
}

TEST_F(Eval, WritesLogits) {
  const std::string path = folder_ / "logits";
  json({"--perplexity", text_, "--context", "16", "--limit", "2", "--logits", path});
  EXPECT_EQ(read_file(path).size(), 8 + 12 + 2 * (16 * 4 + 16 * 288 * 4U));
}

TEST_F(Eval, ForPeople) {
  Program program(
      {"eval", model_, "--perplexity", text_, "--lambada", lambada_, "--context", "64", "--limit", "2"});
  program.close_input();
  EXPECT_EQ(program.status(), 0);
  EXPECT_THAT(program.out, HasSubstr("perplexity"));
  EXPECT_THAT(program.out, HasSubstr("second half"));
  EXPECT_THAT(program.out, HasSubstr("of 2 passages"));
}

TEST_F(Eval, RefusesWhatItCannotMeasure) {
  EXPECT_THAT(refusal({}, 2), HasSubstr("--perplexity FILE or --lambada FILE"));
  EXPECT_THAT(refusal({"--perplexity", text_, "--context", "129"}, 2), HasSubstr("128"));
  EXPECT_THAT(refusal({"--perplexity", text_, "--against-f32", "--precision", "f32"}, 2),
              HasSubstr("--against-f32"));
  EXPECT_THAT(refusal({"--lambada", text_}, 1), HasSubstr(text_ + ":1"));
  EXPECT_THAT(refusal({"--perplexity", folder_ / "none"}, 1), HasSubstr("none"));
  EXPECT_THAT(refusal({"--perplexity", text_, "--context", "16", "--logits", folder_ / "no/logits"}, 1),
              HasSubstr("no/logits"));
  write_file(text_, "the cat");
  EXPECT_THAT(refusal({"--perplexity", text_, "--context", "64"}, 2),
              HasSubstr("fewer than one window of 64"));
}

// A stack's rows are the device's: what they compute is the CPU's own, to the bit.
TEST_F(Eval, PrefillOnADeviceAgainstTheCpusOwn) {
  const std::string path = folder_ / "stack.gguf";
  resident::write_plain_stack(model_, path, {.rows_per_group = 16});
  const std::vector<std::string> flags = {"--perplexity", text_, "--context",    "64", "--limit", "3",
                                          "--prefill",    "cpu", "--against-own"};
  const auto stack = json(flags, path);
  EXPECT_EQ(stack["prefill"], "cpu");
  EXPECT_EQ(stack["mean_kl"].get<double>(), 0);
  EXPECT_EQ(stack["top1"].get<double>(), 1);
  EXPECT_EQ(stack["perplexity"], stack["perplexity_own"]);
  const auto model = json(flags);
  EXPECT_GT(model["mean_kl"].get<double>(), 0);
  EXPECT_LT(model["mean_kl"].get<double>(), 0.05);

  EXPECT_THAT(refusal({"--perplexity", text_, "--against-own"}, 2),
              HasSubstr("--prefill DEVICE or --quantize"));
  EXPECT_THAT(refusal({"--perplexity", text_, "--prefill", "cpu", "--precision", "f32"}, 2),
              HasSubstr("--prefill makes the products int8"));
  EXPECT_THAT(refusal({"--perplexity", text_, "--context", "64", "--prefill", "toaster"}, 2),
              HasSubstr("toaster"));
  EXPECT_THAT(refusal({"--perplexity", text_, "--npu-bits", "4"}, 2), HasSubstr("only with --prefill"));
}

TEST_F(Eval, AgainstAnotherModel) {
  const std::string path = folder_ / "stack.gguf";
  resident::write_plain_stack(model_, path, {.rows_per_group = 16});
  const std::vector<std::string> flags = {"--perplexity", text_, "--context", "64", "--limit", "3"};
  const auto with = [&](std::vector<std::string> more, const std::string& model) {
    more.insert(more.begin(), flags.begin(), flags.end());
    return json(more, model);
  };
  const auto stack = with({"--against", model_}, path);
  EXPECT_EQ(stack["perplexity"], json(flags, path)["perplexity"]);
  EXPECT_EQ(stack["perplexity_reference"], json(flags)["perplexity"]);
  EXPECT_GT(stack["mean_kl"].get<double>(), 0);
  const auto itself = with({"--against", model_}, model_);
  EXPECT_EQ(itself["mean_kl"].get<double>(), 0);
  EXPECT_EQ(itself["top1"].get<double>(), 1);

  const std::string other = folder_ / "other.gguf";
  llm::write_tiny_model(other);
  EXPECT_THAT(refusal({"--perplexity", text_, "--against", folder_ / "none"}, 1), HasSubstr("none"));
  EXPECT_THAT(refusal({"--perplexity", text_, "--against", other}, 2),
              HasSubstr(other + " cannot be compared with " + model_));
  EXPECT_THAT(refusal({"--perplexity", text_, "--against", model_, "--against-f32"}, 2),
              HasSubstr("--against-f32"));
}

TEST_F(Eval, ControlCEndsItWithoutAResult) {
  std::string words;
  for (int i = 0; i < 400'000; ++i) words += "the cat sat on that mat and then ";
  write_file(text_, words);
  Program program({"eval", model_, "--perplexity", text_, "--context", "128", "--threads", "1", "--logits",
                   folder_ / "logits"});
  program.close_input();
  std::this_thread::sleep_for(std::chrono::milliseconds(700));
  program.signal(SIGINT);
  EXPECT_EQ(program.status(), 130);
  EXPECT_EQ(program.out, "");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "logits"));
}

}  // namespace
}  // namespace cairn::cli
