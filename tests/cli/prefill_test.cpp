// run --prefill on a tiny model: the answer, the timeline's files, and what can go wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "base/temporary_folder.hpp"
#include "llm/tiny_model.hpp"
#include "session_program.hpp"

namespace cairn::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class PrefillOnDevice : public ::testing::Test {
 protected:
  PrefillOnDevice() { llm::write_tiny_model(model()); }
  std::string model() const { return folder_.file("tiny.gguf"); }
  std::vector<std::string> command(std::vector<std::string> more) const {
    std::vector<std::string> all = {"run",          model(),         "-p", kPrompt, "-n", "8",
                                    "--ignore-end", "--temperature", "0"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  static constexpr const char* kPrompt =
      "a prompt that is long enough for several chunks of thirty-two tokens each, whatever the tokenizer "
      "makes of "
      "its words, its commas and its spaces, and which goes on for a little longer still";

  llm::TestFolder folder_;
};

TEST_F(PrefillOnDevice, AnswersAndDrawsItsTimeline) {
  const std::string trace = folder_.file("trace.json"), timeline = folder_.file("timeline.html");
  Program program(command(
      {"--prefill", "cpu", "--chunk", "32", "--threads", "2", "--trace", trace, "--timeline", timeline}));
  ASSERT_EQ(program.status(), 0) << program.err;
  EXPECT_FALSE(program.out.empty());
  EXPECT_THAT(program.err, AllOf(HasSubstr("cpu: chunks of 32"), HasSubstr("idle")));
  const nlohmann::json events = nlohmann::json::parse(content(trace));
  EXPECT_GT(events["traceEvents"].size(), 12u);
  EXPECT_THAT(content(timeline), AllOf(HasSubstr("<html"), HasSubstr("</html>")));
}

TEST_F(PrefillOnDevice, WhatItReadIsKeptForTheSameDeviceAndQuantisation) {
  const std::string prefixes = folder_.file("prefixes");
  const cairn::testing::ScopedVariable kept("CAIRN_PREFIXES", prefixes.c_str());
  const auto cached = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all = command(more);
    all.insert(all.end(), {"--keep-prefix", "--json"});
    Program program(all);
    EXPECT_EQ(program.status(), 0) << program.err;
    return nlohmann::json::parse(program.out)["cached_tokens"].get<int>();
  };
  const std::vector<std::string> device = {"--prefill", "cpu", "--chunk", "32", "--threads", "2"};
  EXPECT_EQ(cached(device), 0);
  EXPECT_GE(cached(device), 64);
  EXPECT_EQ(cached({"--threads", "2"}), 0) << "another's";
  std::vector<std::string> other = device;
  other.insert(other.end(), {"--quantize", "token"});
  EXPECT_EQ(cached(other), 0);
}

TEST_F(PrefillOnDevice, WholeLayersAreForQnnAndHaveTheirOwnQuantisation) {
  Program cpu(command({"--prefill", "cpu", "--chunk", "32", "--npu-form", "layers-fp16"}));
  EXPECT_EQ(cpu.status(), 1);
  EXPECT_THAT(cpu.err, HasSubstr("cpu takes products alone"));
  Program both(command({"--prefill", "cpu", "--npu-form", "layers-a16", "--quantize", "rotation"}));
  EXPECT_EQ(both.status(), 2);
  EXPECT_THAT(both.err, HasSubstr("--npu-form layers-a16: --quantize"));
  Program unknown(command({"--prefill", "cpu", "--npu-form", "layers-fp8"}));
  EXPECT_EQ(unknown.status(), 2);
  EXPECT_THAT(unknown.err, HasSubstr("layers-fp16"));
}

// A prompt longer than a pass: the picture and the trace hold all of it, on one clock.
TEST_F(PrefillOnDevice, TheTimelineHoldsEveryPass) {
  llm::write_tiny_model(model(), {.context = 4096});
  const std::string trace = folder_.file("trace.json"), timeline = folder_.file("timeline.html");
  std::string prompt;
  while (prompt.size() < 1300) prompt += std::to_string(prompt.size());  // byte by byte a token
  Program program({"run", model(), "--raw", prompt, "-n", "1", "--temperature", "0", "--prefill", "cpu",
                   "--chunk", "32", "--threads", "2", "--trace", trace, "--timeline", timeline});
  ASSERT_EQ(program.status(), 0) << program.err;
  const nlohmann::json events = nlohmann::json::parse(content(trace))["traceEvents"];
  constexpr int kPass = 16;  // chunks
  struct Pass {
    double begin = std::numeric_limits<double>::max(), end = 0;
  };
  std::map<int, Pass> passes;
  for (const auto& event : events) {
    if (event["ph"] != "X") continue;
    Pass& pass = passes[event["args"]["chunk"].get<int>() / kPass];
    const double begin = event["ts"];
    pass.begin = std::min(pass.begin, begin);
    pass.end = std::max(pass.end, begin + event["dur"].get<double>());
  }
  ASSERT_GE(passes.size(), 3u);
  for (auto pass = passes.begin(); std::next(pass) != passes.end(); ++pass)
    EXPECT_GE(std::next(pass)->second.begin, pass->second.end) << pass->first;
  const std::string page = content(timeline);
  EXPECT_THAT(page, HasSubstr("\"CPU, int8 products\""));
  EXPECT_THAT(page, HasSubstr("\"CPU, the rest\""));
}

TEST_F(PrefillOnDevice, EveryPolicyGivesTheSameAnswer) {
  std::string first;
  for (const char* policy : {"in-order", "pairs", "overlap", "out-of-order", "look-ahead"}) {
    Program program(command({"--prefill", "cpu", "--chunk", "32", "--threads", "2", "--policy", policy}));
    ASSERT_EQ(program.status(), 0) << program.err;
    if (first.empty()) first = program.out;
    EXPECT_EQ(program.out, first) << policy;
  }
  Program sequential(command({"--prefill", "cpu", "--chunk", "32", "--sequential"}));
  ASSERT_EQ(sequential.status(), 0) << sequential.err;
  EXPECT_EQ(sequential.out, first);
}

TEST_F(PrefillOnDevice, SaysWhatIsWrong) {
  const auto fails = [&](std::vector<std::string> more, int status, const std::string& part) {
    more.push_back("--no-stats");
    Program program(command(std::move(more)));
    EXPECT_EQ(program.status(), status) << program.err;
    EXPECT_THAT(program.err, AllOf(HasSubstr("cairn: "), HasSubstr(part)));
    EXPECT_EQ(std::count(program.err.begin(), program.err.end(), '\n'), 1) << program.err;
  };
  fails({"--prefill", "toaster"}, 2, "toaster");
  fails({"--prefill", "cpu", "--chunk", "16"}, 2, "--chunk");
  fails({"--chunk", "64"}, 2, "--prefill");
  fails({"--prefill", "cpu", "--precision", "f32"}, 2, "float");
  fails({"--prefill", "cpu", "--repeatable"}, 2, "--repeatable rules out");
  fails({"--prefill", "cpu", "--calibration", model()}, 1, "tiny.gguf");
  fails({"--prefill", "cpu", "--calibration", folder_.file("absent.cal")}, 1, "absent.cal");
  fails({"--prefill", "cpu", "--quantize", "shadow"}, 2, "calibration");
  fails({"--quantize", "rotation"}, 2, "--prefill");
  fails({"--prefill", "cpu", "--chunk", "32", "--timeline", folder_.file("none/timeline.html")}, 1,
        "none/timeline.html");
}

}  // namespace
}  // namespace cairn::cli
