// bench --simulate and inspect --graphs as scripts use them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/temporary_folder.hpp"
#include "llm/tiny_model.hpp"
#include "session_program.hpp"

namespace cairn::cli {
namespace {

using cairn::testing::read_file;
using cairn::testing::TemporaryFolder;
using ::testing::HasSubstr;

std::string output(std::vector<std::string> arguments) {
  Program program(std::move(arguments));
  EXPECT_EQ(program.status(), 0) << program.err;
  return program.out;
}

nlohmann::json bench(std::vector<std::string> flags) {
  std::vector<std::string> arguments{"bench", "--simulate", "snapdragon-8gen3", "--json"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  return nlohmann::json::parse(output(arguments));
}

void refuses(std::vector<std::string> arguments, const std::string& part) {
  Program program(std::move(arguments));
  EXPECT_EQ(program.status(), 2);
  EXPECT_EQ(program.out, "");
  EXPECT_THAT(program.err, HasSubstr(part));
}

TEST(Simulate, PrintsWhatScriptsRelyOn) {
  const auto one = bench({"--shape", "qwen1.5-1.8b", "--prompt", "512", "--policy", "out-of-order"});
  EXPECT_EQ(one["policy"], "out-of-order");
  EXPECT_EQ(one["stage"], "outliers");
  EXPECT_EQ(one["shadow_inputs"], 14);
  EXPECT_LE(one["npu_bubble"].get<double>(), 0.01);
  EXPECT_GT(one["decision_us"].get<double>(), 0);
  EXPECT_DOUBLE_EQ(one["prefill_tok_s"].get<double>() * one["makespan_s"].get<double>(), 512);
  const auto naive = bench({"--prompt", "512", "--stage", "naive"});
  EXPECT_EQ(naive["policy"], "overlap");
  EXPECT_EQ(naive["chunk"], 512);
  EXPECT_LT(naive["prefill_tok_s"], one["prefill_tok_s"]);
  const auto chunked = bench({"--prompt", "512", "--chunk", "128", "--prune", "1"});
  EXPECT_EQ(chunked["chunks"], 4);
  EXPECT_EQ(chunked["shadow_inputs"], 0);
  EXPECT_EQ(bench({"--shape", "phi-2", "--prompt", "64"})["shape"], "phi-2");
  const auto both = bench({"--policy", "in-order,look-ahead"});
  ASSERT_EQ(both.size(), 2u);
  EXPECT_GT(both[0]["makespan_s"], both[1]["makespan_s"]);
}

TEST(Simulate, WritesTracesAndPictures) {
  const TemporaryFolder folder;
  const std::string trace = folder / "run.json", page = folder / "run.html", picture = folder / "run.svg";
  const auto result = bench({"--trace", trace, "--timeline", page});
  size_t runs = 0;
  const auto json = nlohmann::json::parse(read_file(trace));
  for (const auto& event : json["traceEvents"]) runs += event["ph"] == "X";
  EXPECT_EQ(runs, result["tasks"]);
  EXPECT_THAT(read_file(page), HasSubstr("look-ahead, snapdragon-8gen3"));
  bench({"--policy", "in-order,out-of-order", "--timeline", picture, "--span", "0", "50"});
  const std::string svg = read_file(picture);
  EXPECT_THAT(svg, HasSubstr("in-order"));
  EXPECT_THAT(svg, HasSubstr("out-of-order"));
  EXPECT_THAT(svg, HasSubstr("50 ms"));
}

TEST(Simulate, RefusesWhatCannotBe) {
  const std::vector<std::string> start{"bench", "--simulate", "snapdragon-8gen3"};
  const auto with = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), start.begin(), start.end());
    return flags;
  };
  refuses({"bench", "--simulate", "toaster"}, "'toaster'");
  refuses(with({"--shape", "gpt-5"}), "'gpt-5'");
  refuses(with({"--policy", "luck"}), "'luck'");
  refuses(with({"--stage", "last"}), "'last'");
  refuses(with({"--prune", "2"}), "prune: 2");
  refuses(with({"--prompt", "0"}), "prompt of 0 tokens");
  refuses(with({"--chunk", "2048"}), "2048 tokens");
  refuses(with({"--policy", "in-order,overlap", "--trace", "/dev/null"}), "--trace holds one run");
  refuses(with({"--timeline", "x.svg", "--span", "5", "5"}), "--span");
  refuses(with({"model.gguf"}), "model.gguf");
}

TEST(Graphs, AreToldOfAModel) {
  const TemporaryFolder folder;
  const std::string model = folder / "tiny.gguf";
  llm::write_tiny_model(model);
  const auto json = nlohmann::json::parse(
      output({"inspect", model, "--graphs", "--prompt", "100", "--chunk", "32", "--json"}));
  const auto& graphs = json["graphs"];
  EXPECT_EQ(graphs["lengths"], (std::vector<int>{32, 32, 32, 32}));
  EXPECT_EQ(graphs["padding"], 28);
  EXPECT_EQ(graphs["chunk_subgraphs"].get<int>() * 5, graphs["chunk_shared"].get<int>() * 6);
  EXPECT_GT(graphs["saved_bytes"], 0);
  EXPECT_EQ(graphs["saved_bytes"].get<uint64_t>(),
            graphs["unshared_bytes"].get<uint64_t>() - graphs["bytes"].get<uint64_t>());
  EXPECT_THAT(output({"inspect", model, "--graphs", "--prompt", "100"}), HasSubstr("prefill of 100 tokens"));
  refuses({"inspect", model, "--graphs", "--prompt", "0"}, "empty");
  refuses({"inspect", model, "--graphs", "--chunk", "31"}, "31 tokens");
}

}  // namespace
}  // namespace cairn::cli
