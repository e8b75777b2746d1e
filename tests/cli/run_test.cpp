#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/sanitized.hpp"
#include "base/thread_pool.hpp"
#include "formats/small_llama.hpp"
#include "llm/tiny_model.hpp"
#include "session_program.hpp"

namespace cairn::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class Run : public ::testing::Test {
 protected:
  Run() { llm::write_tiny_model(model()); }

  std::string model() const { return folder_.file("tiny.gguf"); }

  // Greedy and on one thread unless told otherwise: the same every time.
  std::vector<std::string> command(std::vector<std::string> more) const {
    std::vector<std::string> all = {"run", model(), "--temperature", "0", "--threads", "1"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  llm::TestFolder folder_;
};

TEST_F(Run, StreamsTheAnswerAndPrintsTheRates) {
  Program program(command({"-p", "hello", "-n", "20", "--ignore-end"}));
  EXPECT_EQ(program.status(), 0) << program.err;
  EXPECT_FALSE(program.out.empty());
  EXPECT_EQ(program.out.back(), '\n');
  EXPECT_THAT(program.err, HasSubstr("prefill "));
  EXPECT_THAT(program.err, HasSubstr("decode 19 tokens"));
  EXPECT_THAT(program.err, HasSubstr(" tok/s"));

  Program quiet(command({"-p", "hello", "-n", "20", "--ignore-end", "--no-stats"}));
  EXPECT_EQ(quiet.status(), 0);
  EXPECT_EQ(quiet.err, "");
  EXPECT_EQ(quiet.out, program.out);
}

TEST_F(Run, PromptsFromFlagFileAndInputAreTheSame) {
  std::ofstream(folder_.file("prompt.txt")) << "the same prompt\n";
  Program flag(command({"-p", "the same prompt", "-n", "12", "--json"}));
  Program file(command({"-f", folder_.file("prompt.txt"), "-n", "12", "--json"}));
  Program input(command({"-n", "12", "--json"}));
  input.write("the same prompt\n");
  input.close_input();
  for (Program* program : {&flag, &file, &input}) ASSERT_EQ(program->status(), 0) << program->err;
  const auto tokens = [](const Program& program) { return nlohmann::json::parse(program.out)["tokens"]; };
  EXPECT_EQ(tokens(flag), tokens(file));
  EXPECT_EQ(tokens(flag), tokens(input));
}

TEST_F(Run, JsonHasEveryFieldThatIsPromised) {
  Program program(command({"-p", "hello", "-n", "8", "--ignore-end", "--json"}));
  ASSERT_EQ(program.status(), 0) << program.err;
  const auto json = nlohmann::json::parse(program.out);
  for (const char* key : {"text", "stop", "prefill_s", "decode_s", "first_token_s", "prefill_tok_s",
                          "decode_tok_s", "prefill_threads", "decode_threads"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  EXPECT_EQ(json["tokens"].size(), 8u);
  EXPECT_EQ(json["finish_reason"], "length");
  EXPECT_EQ(json["decode_tokens"], 7);
  EXPECT_EQ(json["prompt_tokens"], json["prefill_tokens"]);
  EXPECT_GT(json["prefill_tok_s"], 0);
}

#ifndef CAIRN_SANITIZED  // sanitizers have their own pthread_create
// As under `ulimit -u 1` or systemd's TasksMax.
TEST_F(Run, GoesOnWithTheThreadsThatItGets) {
  Program one(command({"-p", "hello", "-n", "5", "--json"}));
  ASSERT_EQ(one.status(), 0) << one.err;
  setenv("LD_PRELOAD", CAIRN_FEW_THREADS, 1);
  setenv("CAIRN_TEST_THREADS", "0", 1);
  for (const char* threads : {"2", "1024", ""}) {
    std::vector<std::string> arguments = {"run", model(), "--temperature", "0", "-p", "hello",
                                          "-n",  "5",     "--json"};
    if (*threads != 0) arguments.insert(arguments.end(), {"--threads", threads});
    Program program(arguments);
    EXPECT_EQ(program.status(), 0) << program.err;
    EXPECT_EQ(nlohmann::json::parse(program.out)["tokens"], nlohmann::json::parse(one.out)["tokens"]);
    const bool told = usable_processors() > 1;
    EXPECT_EQ(std::count(program.err.begin(), program.err.end(), '\n'), told) << program.err;
    if (told) {
      EXPECT_THAT(program.err, HasSubstr("cairn: 1 of "));
      EXPECT_THAT(program.err, HasSubstr("threads could be started"));
    }
  }
  unsetenv("LD_PRELOAD");
}
#endif

TEST_F(Run, RawLeavesTheTemplateAway) {
  Program chat(command({"-p", "hello", "-n", "1", "--json"}));
  Program raw(command({"-p", "hello", "-n", "1", "--json", "--raw"}));
  ASSERT_EQ(chat.status(), 0);
  ASSERT_EQ(raw.status(), 0);
  EXPECT_GT(nlohmann::json::parse(chat.out)["prompt_tokens"],
            nlohmann::json::parse(raw.out)["prompt_tokens"]);
}

TEST_F(Run, SeedsRepeat) {
  const std::vector<std::string> flags = {"-p", "x",           "-n", "16",      "--json", "--temperature",
                                          "2",  "--top-k",     "0",  "--top-p", "1",      "--min-p",
                                          "0",  "--ignore-end"};
  const auto tokens = [&](const char* seed) {
    std::vector<std::string> all = {"run", model(), "--threads", "1", "--seed", seed};
    all.insert(all.end(), flags.begin(), flags.end());
    Program program(all);
    EXPECT_EQ(program.status(), 0) << program.err;
    return nlohmann::json::parse(program.out)["tokens"];
  };
  EXPECT_EQ(tokens("7"), tokens("7"));
  EXPECT_NE(tokens("7"), tokens("8"));
  EXPECT_NE(tokens("-1"), tokens("-1")) << "a new one each time";
  EXPECT_NE(tokens("18446744073709551615"), tokens("-1"));
}

TEST_F(Run, BrokenUtf8InThePrompt) {
  Program program(command({"-p", "a\xff\xc3", "-n", "4", "--json"}));
  EXPECT_EQ(program.status(), 0) << program.err;
  EXPECT_TRUE(nlohmann::json::accept(program.out)) << program.out;
}

TEST_F(Run, BadInputIsOneClearLine) {
  struct Case {
    std::vector<std::string> flags;
    int status;
    std::string text;
  };
  const std::vector<Case> cases = {
      {{"-p", "x", "--threads", "0"}, 2, "--threads"},
      {{"-p", "x", "--threads", "10000"}, 2, "--threads"},
      {{"-p", std::string(2000, 'x')}, 2, "the context holds 256"},
      {{"-p", "x", "--context", "0"}, 2, "--context"},
      {{"-p", "x", "--temperature", "-1"}, 2, "temperature is -1"},
      {{"-p", "x", "--top-p", "1.5"}, 2, "top_p is 1.5"},
      {{"-p", "x", "--logit-bias", "5"}, 2, "ID=VALUE"},
      {{"-p", "x", "--logit-bias", "99999=1"}, 2, "token 99999"},
      {{"-p", "x", "--stop", ""}, 2, "stop string is empty"},
      {{"-p", "x", "--kv", "f8"}, 2, "--kv"},
      {{"-p", "", "--raw"}, 2, "the prompt is empty"},
      {{"-p", "x", "--raw", "--system", "y"}, 2, "chat template"},
      {{"-f", folder_.file("none.txt")}, 1, "none.txt"},
      {{"-f", "/"}, 1, "/"},
  };
  for (const Case& bad : cases) {
    std::vector<std::string> all = {"run", model()};
    all.insert(all.end(), bad.flags.begin(), bad.flags.end());
    Program program(all);
    EXPECT_EQ(program.status(), bad.status) << bad.text;
    EXPECT_EQ(program.out, "");
    EXPECT_THAT(program.err, StartsWith("cairn: "));
    EXPECT_THAT(program.err, HasSubstr(bad.text));
    EXPECT_EQ(std::count(program.err.begin(), program.err.end(), '\n'), 1) << program.err;
  }
  Program none({"run", folder_.file("none.gguf"), "-p", "x"});
  EXPECT_EQ(none.status(), 1);
  EXPECT_THAT(none.err, HasSubstr("none.gguf"));
}

TEST_F(Run, NanIsReported) {
  llm::write_tiny_model(model(), {.poisoned = "output.weight"});
  Program program(command({"-p", "x", "--raw"}));
  EXPECT_EQ(program.status(), 1);
  EXPECT_THAT(program.err, HasSubstr("position 0"));
}

// As other programs end whose reader has seen enough.
TEST_F(Run, ClosedOutputEndsItQuietly) {
  Program program(command({"-p", "x", "-n", "100", "--ignore-end"}));
  program.close_output();
  EXPECT_EQ(program.status(), 1000 + SIGPIPE);
  EXPECT_EQ(program.err, "");
}

TEST_F(Run, InterruptWhileDecodingKeepsTheText) {
  llm::write_tiny_model(model(), {.context = 16384});
  Program program(command({"-p", "hello", "--ignore-end", "--context", "16384"}));
  program.wait_for([&] { return program.out.size() > 20; });
  program.signal(SIGINT);
  EXPECT_EQ(program.status(), 130);
  EXPECT_EQ(program.out.back(), '\n');
  EXPECT_THAT(program.err, HasSubstr("decode "));
  EXPECT_THAT(program.err, HasSubstr("cairn: interrupted"));
}

// As of other commands' outputs: the same can be asked again without --force.
TEST_F(Run, InterruptWhileDecodingLeavesNoTimeline) {
  llm::write_tiny_model(model(), {.context = 16384});
  const std::string timeline = model() + ".html";
  std::string prompt;
  for (int i = 0; i < 40; ++i) prompt += "stone " + std::to_string(i) + " ";
  const std::vector<std::string> drawn = {"--raw", "-p",      prompt, "--context",  "16384",  "--prefill",
                                          "cpu",   "--chunk", "32",   "--timeline", timeline, "--ignore-end"};
  Program program(command(drawn));
  program.wait_for([&] { return program.out.size() > 20; });
  program.signal(SIGINT);
  EXPECT_EQ(program.status(), 130);
  EXPECT_FALSE(std::filesystem::exists(timeline));
  std::vector<std::string> short_one = drawn;
  short_one.insert(short_one.end(), {"-n", "2"});
  EXPECT_EQ(Program(command(short_one)).status(), 0);
  EXPECT_TRUE(std::filesystem::exists(timeline));
}

TEST_F(Run, InterruptWhilePrefilling) {
  llm::write_tiny_model(model(), {.context = 1 << 20});
  Program program(command({"--raw", "--context", "1000000"}));
  // Byte by byte its own token: the prefill alone would take far longer than the test.
  std::string prompt;
  for (int i = 0; i < 200000; ++i) prompt += static_cast<char>(i % 7 == 0 ? '\n' : '0' + i % 10);
  program.write(prompt);  // more than a pipe holds: when this returns, the program is reading
  program.close_input();
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  program.signal(SIGINT);
  EXPECT_EQ(program.status(), 130);
  EXPECT_EQ(program.out, "");
  EXPECT_THAT(program.err, HasSubstr("decode 0 tokens"));
}

// The answer so far stays, and one line tells why there is no more.
TEST_F(Run, AModelFileThatIsCutWhileItAnswers) {
  cairn::testing::write_small_llama(model(), {.embedding = 512, .ffn = 2048});
  Program program(
      command({"--raw", "-p", "x", "-n", "500", "--ignore-end", "--context", "512", "--mmap", "on"}));
  program.wait_for([&] { return !program.out.empty(); });
  std::filesystem::resize_file(model(), 4096);
  EXPECT_EQ(program.status(), 1);
  EXPECT_FALSE(program.out.empty());
  EXPECT_THAT(program.err, HasSubstr("cairn: " + model() + ": was cut to 4096 bytes while in use"));
}

TEST_F(Run, InterruptWhileWaitingForAPrompt) {
  Program program(command({}));
  program.write(
      std::string(100000, 'x'));  // more than a pipe holds: when this returns, the program is reading
  program.signal(SIGINT);
  EXPECT_EQ(program.status(), 130);
}

}  // namespace
}  // namespace cairn::cli
