// bench as a program, on a tiny model of tests/data.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "session_program.hpp"

namespace cairn::cli {
namespace {

const std::string kModel = std::string(CAIRN_TEST_DATA) + "/golden_models/llama.gguf";

void expect_ratios(const std::string& peer) {
  Program program({"bench", kModel, "--threads", "1", "--prompt", "16", "--generate", "4", "--repeat", "1",
                   "--json", "--against", peer});
  program.close_input();
  ASSERT_EQ(program.status(), 0) << program.err;
  const auto json = nlohmann::json::parse(program.out);
  EXPECT_NEAR(json["prefill_ratio"].get<double>(), json["prefill_tok_s"].get<double>() / 7, 1e-6) << peer;
  EXPECT_NEAR(json["decode_ratio"].get<double>(), json["decode_tok_s"].get<double>() / 5, 1e-6) << peer;
}

TEST(Bench, TakesThePeersJsonOnOneLineOrMany) {
  expect_ratios(R"(echo '{"prefill_tok_s": 7, "decode_tok_s": 5}')");
  expect_ratios(
      R"(printf '{\n  "all": [{"prefill_tok_s": 1}],\n  "prefill_tok_s": 7,\n  "decode_tok_s": 5\n}\n')");
  expect_ratios(R"(echo 'loading {x}'; echo 'rates: {"prefill_tok_s": 7, "decode_tok_s": 5}')");
}

TEST(Bench, APeerWithoutRatesIsRefused) {
  for (const std::string peer : {"echo no", "echo '}{'", "echo '{}'", "false"}) {
    Program program(
        {"bench", kModel, "--prompt", "16", "--generate", "4", "--repeat", "1", "--against", peer});
    program.close_input();
    EXPECT_NE(program.status(), 0);
    EXPECT_THAT(program.err, ::testing::HasSubstr("--against: \"" + peer + "\" printed no JSON")) << peer;
  }
}

}  // namespace
}  // namespace cairn::cli
