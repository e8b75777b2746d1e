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

TEST(Simulate, TellsWhatABundleHolds) {
  const TemporaryFolder folder;
  nlohmann::json manifest = {{"cairn_bundle", 2},
                             {"model", "m.gguf"},
                             {"scheme", "rotation"},

                             {"chip", "qcs6490"},
                             {"fingerprint", "x"},
                             {"bits", 8},
                             {"graphs", nlohmann::json::array()}};
  for (const int tokens : {64, 256, 256}) {
    manifest["graphs"].push_back({{"name", "blk.0.qkv"},
                                  {"key", "1"},
                                  {"tokens", tokens},
                                  {"file", "a"},
                                  {"bytes", 5},
                                  {"in", 100},
                                  {"out", 70}});
  }
  cairn::testing::write_file(folder / "manifest.json", manifest.dump());
  cairn::testing::write_file(folder / "a", "12345");
  const auto told = nlohmann::json::parse(output({"simulate", "--bundle", folder.path(), "--json"}));
  EXPECT_EQ(told.size(), 1U) << "no other table was asked for";
  EXPECT_EQ(told["bundle"]["bytes"], 15);
  EXPECT_EQ(told["bundle"]["chunks"][1],
            (nlohmann::json{{"tokens", 256}, {"graphs", 2}, {"in", 200}, {"out", 140}}));
  EXPECT_THAT(output({"simulate", "--bundle", folder.path()}), HasSubstr("m.gguf for qcs6490"));
  Program none({"simulate", "--bundle", "/nowhere"});
  EXPECT_NE(none.status(), 0);
  EXPECT_THAT(none.err, HasSubstr("/nowhere: no bundle"));
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

nlohmann::json tables(std::vector<std::string> flags) {
  std::vector<std::string> arguments{"simulate", "--json"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  return nlohmann::json::parse(output(arguments));
}

TEST(Simulate, PrintsItsTables) {
  const std::string all = output({"simulate"});
  for (const char* part :
       {"Prefill, tokens a second", "End to end, seconds", "Energy of a prefill", "Order of subgraphs",
        "What the device's graphs hold", "launch", "snapdragon-8gen2"})
    EXPECT_THAT(all, HasSubstr(part));
  EXPECT_LT(all.find("Prefill,"), all.find("launch"));
  const std::string one = output({"simulate", "schedule", "--prompt", "512"});
  EXPECT_THAT(one, HasSubstr("pairs"));
  EXPECT_THAT(one, ::testing::Not(HasSubstr("launch")));
}

TEST(Simulate, TablesAreJson) {
  const auto json = tables({"prefill", "stages", "tasks", "energy", "schedule", "forms", "constants"});
  ASSERT_EQ(json.size(), 7u);
  EXPECT_EQ(json["stages"].size(), 3u * 4);
  EXPECT_EQ(json["stages"][3]["paper_tok_s"], 569);
  EXPECT_TRUE(json["stages"][4]["step"].is_null());
  EXPECT_EQ(json["prefill"].size(), 2u * 5 * 4);  // phones, models, prompts
  const auto& gemma = json["prefill"][7];
  EXPECT_EQ(gemma["model"], "gemma-2b");
  EXPECT_EQ(gemma["prompt"], 1024);
  EXPECT_EQ(gemma["paper_tok_s"], 604);
  EXPECT_EQ(gemma["paper_source"], "Figure 18");
  EXPECT_GT(gemma["prefill_tok_s"], 0);
  EXPECT_TRUE(json["prefill"][0]["paper_tok_s"].is_null());
  EXPECT_EQ(json["tasks"].size(), 5u * 5);
  EXPECT_EQ(json["tasks"][0]["paper_prefill_s"], 1.49);
  EXPECT_EQ(json["tasks"][24]["paper_total_s"], 2.88 + 10.28);
  EXPECT_EQ(json["energy"]["rows"].size(), 5u * 3);
  EXPECT_EQ(json["energy"]["rows"][2]["paper_range"], (std::vector<double>{35.63, 59.52}));
  EXPECT_EQ(json["energy"]["merge"]["paper_energy"], 0.201);
  EXPECT_EQ(json["schedule"].size(), 2u * 5);
  EXPECT_EQ(json["schedule"][6]["policy"], "pairs");
  EXPECT_EQ(json["schedule"][6]["paper_npu_bubble"], 0.37);
  EXPECT_EQ(json["forms"].size(), 2u * 5);
  EXPECT_EQ(json["forms"][2]["last_chunk_a_layer"]["graphs"], 1);
  EXPECT_EQ(json["constants"][0]["name"], "launch");
  EXPECT_EQ(json["constants"][0]["origin"], "fitted");
}

TEST(Simulate, TablesFollowTheirFlags) {
  const auto json = tables({"prefill", "--phone", "redmi-k60-pro,xiaomi-14", "--model", "phi-2", "--prompt",
                            "100,200", "--chunk", "0", "--policy", "pairs", "--prune", "1"});
  ASSERT_EQ(json["prefill"].size(), 4u);
  EXPECT_EQ(json["prefill"][0]["phone"], "snapdragon-8gen2");
  EXPECT_EQ(json["prefill"][3]["phone"], "snapdragon-8gen3");
  EXPECT_EQ(json["prefill"][3]["prompt"], 200);
  EXPECT_LT(json["prefill"][0]["prefill_tok_s"], json["prefill"][2]["prefill_tok_s"]);
  const auto slow = tables({"tasks", "--policy", "in-order"}), fast = tables({"tasks"});
  EXPECT_GT(slow["tasks"][0]["prefill_s"], fast["tasks"][0]["prefill_s"]);
  EXPECT_TRUE(tables({"tasks", "--phone", "redmi-k60-pro"})["tasks"][0]["paper_prefill_s"].is_null());
  EXPECT_TRUE(
      tables({"energy", "--model", "qwen3-0.6b"})["energy"]["rows"][0]["llama_cpp_over_it"].is_null());
}

TEST(Simulate, TablesRefuseWhatIsUnknown) {
  refuses({"simulate", "prefill", "--phone", "nokia"},
          "simulated phone 'nokia' is not known; there are snapdragon-8gen3 (redmi-k70-pro, xiaomi-14), "
          "snapdragon-8gen2 (redmi-k60-pro)");
  refuses({"simulate", "prefill", "--model", "gpt-5"},
          "model 'gpt-5' is not known; there are qwen1.5-1.8b, ");
  refuses({"simulate", "weather"}, "weather");
  refuses({"simulate", "--policy", "luck"}, "'luck'");
  refuses({"simulate", "--prompt", "0"}, "prompt of 0 tokens");
  refuses({"simulate", "--prompt", "-1"}, "-1");
  refuses({"simulate", "--prompt", "3000", "--model", "phi-2"}, "phi-2 takes 1 to 2048");
  refuses({"simulate", "--chunk", "16"}, "16 tokens");
  refuses({"simulate", "--prune", "2"}, "prune: 2");
  Program mixture({"simulate", "--model", "qwen3-30b-a3b"});
  EXPECT_EQ(mixture.status(), 1);
  EXPECT_EQ(mixture.out, "");
  EXPECT_THAT(mixture.err, HasSubstr("qwen3-30b-a3b is a mixture of experts"));
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
