// The program's stack, trim, verify and inspect on a small model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>

#include "base/temporary_folder.hpp"
#include "formats/small_llama.hpp"

namespace cairn {
namespace {

using ::testing::HasSubstr;

struct Result {
  int status;
  std::string output;  // both streams
};

class StackProgram : public ::testing::Test {
 protected:
  StackProgram() {
    testing::write_small_llama(path("model.gguf"));
    std::ofstream text(path("text.txt"));
    for (int i = 0; i < 600; ++i) text << "stone " << i * 7919 << " lies on stone " << i << ". ";
  }

  std::string path(const std::string& name) const { return folder_ / name; }
  static Result run(const std::string& arguments) {
    const std::string command = std::string(CAIRN_PROGRAM) + " " + arguments + " 2>&1";
    FILE* pipe = popen(command.c_str(), "r");
    Result result{0, {}};
    for (int c = 0; (c = std::fgetc(pipe)) != EOF;) result.output += static_cast<char>(c);
    const int status = pclose(pipe);
    result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return result;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(StackProgram, MakesCutsChecksAndMeasures) {
  const Result made =
      run("stack " + path("model.gguf") + " --text " + path("text.txt") +
          " --windows 4 --window 64 --importance-windows 1 --embeddings keep --json --quiet -o " +
          path("s.gguf"));
  ASSERT_EQ(made.status, 0) << made.output;
  const auto report = nlohmann::json::parse(made.output);
  EXPECT_EQ(report["matrices"], 14);

  const auto inspected = nlohmann::json::parse(run("inspect --json " + path("s.gguf")).output);
  EXPECT_EQ(inspected["linear_bytes"], report["linear_bytes"]);
  EXPECT_EQ(inspected["steps"].get<int>(), inspected["stack"]["blocks"].get<int>() * 6 / 7);
  EXPECT_GT(inspected["largest_step"].get<int>(), 0);
  EXPECT_EQ(run("inspect --html " + path("curve.html") + " " + path("s.gguf")).status, 0);
  EXPECT_TRUE(std::filesystem::exists(path("curve.html")));
  EXPECT_THAT(run("inspect --html " + path("x.html") + " " + path("model.gguf")).output,
              HasSubstr("this is none"));

  const Result trimmed = run("trim " + path("s.gguf") + " --bits 5 --json -o " + path("t.gguf"));
  ASSERT_EQ(trimmed.status, 0) << trimmed.output;
  EXPECT_LE(nlohmann::json::parse(trimmed.output)["bits"].get<double>(), 5.0);
  EXPECT_EQ(run("verify " + path("t.gguf")).status, 0);
  EXPECT_EQ(run("trim " + path("s.gguf") + " --bits 5 --dequantize -o " + path("d.gguf")).status, 0);
  const Result evaluated =
      run("eval " + path("d.gguf") + " --context 64 --limit 4 --perplexity " + path("text.txt"));
  EXPECT_EQ(evaluated.status, 0) << evaluated.output;

  // Pulled where it is whole.
  setenv("CAIRN_MODELS", path("store").c_str(), 1);
  EXPECT_EQ(run("pull " + path("t.gguf") + " --name whole").status, 0);
  {
    std::ofstream(path("bad.gguf"), std::ios::binary)
        << std::ifstream(path("t.gguf"), std::ios::binary).rdbuf();
    std::fstream file(path("bad.gguf"), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(std::filesystem::file_size(path("bad.gguf")) - 512));
    file.put('\x55');
  }
  EXPECT_EQ(run("pull " + path("bad.gguf") + " --name bad").status, 1);
  EXPECT_FALSE(std::filesystem::exists(path("store/bad.gguf")));
  EXPECT_TRUE(std::filesystem::exists(path("bad.gguf")));
  unsetenv("CAIRN_MODELS");

  // A damaged block: told, and the exit status says so.
  {
    std::fstream file(path("t.gguf"), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(std::filesystem::file_size(path("t.gguf")) - 512));
    file.put('\x55');
  }
  const Result damaged = run("verify " + path("t.gguf"));
  EXPECT_EQ(damaged.status, 1);
  EXPECT_THAT(damaged.output, HasSubstr("checksum"));
}

// Before the work, into a pipe as well: how long, how large. What was done by an earlier run is not counted
// again.
TEST_F(StackProgram, BeginsWithAnEstimate) {
  const std::string command = "stack " + path("model.gguf") + " --text " + path("text.txt") +
                              " --windows 4 --window 64 --importance-windows 1 -o ";
  const std::string output = run(command + path("s.gguf")).output;
  std::smatch found;
  ASSERT_TRUE(std::regex_search(
      output, found,
      std::regex("^cairn: stack: (?:a few|about [0-9.]+) (?:seconds|minutes|hours), about ([0-9]+) MB\n")))
      << output;
  const auto bytes = static_cast<double>(std::filesystem::file_size(path("s.gguf")));
  EXPECT_GE(std::stod(found[1]) * 1e6, 0.9 * bytes);
  EXPECT_LE((std::stod(found[1]) - 1) * 1e6, 1.1 * bytes);
}

TEST_F(StackProgram, RefusesWhatCannotBe) {
  EXPECT_THAT(run("stack " + path("model.gguf") + " --tune -o " + path("s.gguf")).output,
              HasSubstr("tuned on a text"));
  EXPECT_THAT(run("trim " + path("model.gguf") + " --bits 3 -o " + path("s.gguf")).output,
              HasSubstr("is not a stack"));
  EXPECT_THAT(run("trim " + path("model.gguf") + " -o " + path("s.gguf")).output,
              HasSubstr("--size and --bits"));
  EXPECT_THAT(run("verify " + path("model.gguf")).output, HasSubstr("is not a stack"));
}

}  // namespace
}  // namespace cairn
