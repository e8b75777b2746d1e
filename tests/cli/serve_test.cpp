// `cairn serve` as a program: models that come and go, memory, its end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/temporary_folder.hpp"
#include "resident/plain_stack.hpp"
#include "server/client.hpp"
#include "session_program.hpp"

namespace cairn::cli {
namespace {

using server::Client;
using server::Response;
using ::testing::HasSubstr;

std::string golden() {
  return std::string(CAIRN_TEST_DATA) + "/golden_models/llama.gguf";
}

class Served {
 public:
  explicit Served(std::vector<std::string> flags) : program_(with_port(std::move(flags))) {
    program_.wait_for([&] { return program_.err.find("/v1\n") != std::string::npos; });
    const size_t at = program_.err.find("http://127.0.0.1:");
    if (at == std::string::npos) throw std::runtime_error(program_.err);
    port_ = static_cast<uint16_t>(std::stoul(program_.err.substr(at + 17)));
  }
  Response ask(const std::string& method, const std::string& path, const std::string& body = {}) {
    return Client(port_).ask(method, path, body);
  }
  Response complete(const std::string& model) {
    return ask("POST", "/v1/completions", R"({"prompt": "x", "max_tokens": 2, "model": ")" + model + "\"}");
  }
  int end() {
    program_.signal(SIGTERM);
    return program_.status();
  }

 private:
  static std::vector<std::string> with_port(std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"serve", "--port", "0", "--context", "128"});
    return flags;
  }
  Program program_;
  uint16_t port_ = 0;
};

TEST(Serve, AModelThatVanishesIsMissedByItsOwnRequestsAlone) {
  const cairn::testing::TemporaryFolder folder;
  const std::string one = folder / "one.gguf", two = folder / "two.gguf";
  std::filesystem::copy_file(golden(), one);
  std::filesystem::copy_file(golden(), two);
  Served served({one, two, "--models-max", "1"});
  EXPECT_EQ(served.complete("one").status, 200);
  std::filesystem::remove(two);
  const Response gone = served.complete("two");
  EXPECT_EQ(gone.status, 503);
  EXPECT_EQ(gone.json()["error"]["code"], "model_unavailable");
  EXPECT_THAT(gone.body, HasSubstr("two.gguf: cannot open"));
  EXPECT_EQ(served.ask("GET", "/v1/models").json()["data"][1]["status"]["value"], "failed");
  EXPECT_EQ(served.complete("one").status, 200);

  std::filesystem::copy_file(golden(), two);
  EXPECT_EQ(served.complete("two").status, 200);
  // Cut while it is in use.
  const auto size = std::filesystem::file_size(two);
  std::filesystem::resize_file(two, size / 2);
  EXPECT_EQ(served.complete("two").status, 503);
  std::filesystem::remove(two);
  std::filesystem::copy_file(golden(), two);
  EXPECT_EQ(served.complete("two").status, 200);
  EXPECT_EQ(served.end(), 0);
}

// Read by a device in chunks, answered by the CPU: what `run` says with the same flags.
TEST(Serve, PromptsAreReadOnADevice) {
  Served served({golden(), "--prefill", "cpu", "--chunk", "32", "--quantize", "rotation", "--temperature",
                 "0", "--threads", "2"});
  std::string words;
  while (words.size() < 60) words += "x";
  const auto ask = [&] {
    return served.ask("POST", "/v1/completions",
                      R"({"model": "llama", "max_tokens": 4, "prompt": ")" + words + "\"}");
  };
  const Response answer = ask();
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(ask().json()["choices"], answer.json()["choices"]) << "out of the cache";
  Program run({"run", golden(), "--raw", words, "-n", "4", "--temperature", "0", "--threads", "2",
               "--prefill", "cpu", "--chunk", "32", "--quantize", "rotation", "--context", "128"});
  EXPECT_EQ(run.status(), 0) << run.err;
  EXPECT_EQ(answer.json()["choices"][0]["text"].get<std::string>(), run.out.substr(0, run.out.size() - 1));
  EXPECT_EQ(served.end(), 0);
}

TEST(Serve, ADeviceThatIsNotThereEndsItAtOnce) {
  Program unknown({"serve", golden(), "--port", "0", "--prefill", "abacus"});
  EXPECT_EQ(unknown.status(), 2);
  EXPECT_THAT(unknown.err, HasSubstr("no device is called 'abacus'"));
  Program alone({"serve", golden(), "--port", "0", "--quantize", "rotation"});
  EXPECT_EQ(alone.status(), 2);
  EXPECT_THAT(alone.err, HasSubstr("--prefill DEVICE"));
  Program file({"serve", golden(), "--port", "0", "--prefill", "cpu", "--trace", "t.json"});
  EXPECT_EQ(file.status(), 2);
  EXPECT_THAT(file.err, HasSubstr("--trace"));
}

TEST(Serve, AStacksMemoryIsSetWhileItServes) {
  const cairn::testing::TemporaryFolder folder;
  const std::string stack = folder / "stack.gguf";
  resident::write_plain_stack(golden(), stack, {.rows_per_group = 16});
  Served served({stack, "--memory", "auto"});
  EXPECT_EQ(served.ask("GET", "/memory").json()["automatic"], true);
  EXPECT_EQ(served.ask("PUT", "/memory", R"({"memory": "2G"})").json()["budget_bytes"], uint64_t{2} << 30);
  const Response small = served.ask("PUT", "/memory", R"({"memory": "1M"})");
  EXPECT_EQ(small.status, 400);
  EXPECT_THAT(small.body, HasSubstr("a budget of 1.0 MiB is too small"));
  EXPECT_EQ(served.complete("stack").status, 200);
  EXPECT_THAT(served.ask("GET", "/metrics").body, HasSubstr("\ncairn_memory_budget_bytes{} 2147483648\n"));
  EXPECT_EQ(served.end(), 0);
}

TEST(Serve, TwoOfOneNameAndBrokenFilesAreToldAtOnce) {
  const cairn::testing::TemporaryFolder folder;
  const std::string broken = folder / "broken.gguf";
  std::filesystem::copy_file(golden(), broken);
  std::filesystem::resize_file(broken, 100);
  for (const auto& [models, says] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{golden(), golden()}, "two models would be called 'llama'"},
           {{golden(), broken}, "broken.gguf"}}) {
    std::vector<std::string> words = {"serve", "--port", "0"};
    words.insert(words.end(), models.begin(), models.end());
    Program program(words);
    EXPECT_NE(program.status(), 0);
    EXPECT_THAT(program.err, HasSubstr(says));
  }
}

}  // namespace
}  // namespace cairn::cli
