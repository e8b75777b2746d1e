// bench --sequences and --restart, run --keep-prefix and chat --resume as scripts use them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "llm/tiny_model.hpp"
#include "session_program.hpp"

namespace cairn::cli {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Scheduling : public testing::Test {
 protected:
  Scheduling() {
    llm::write_tiny_model(model(), {.context = 2048});
    setenv("XDG_STATE_HOME", folder_.file("state").c_str(), 1);
    setenv("CAIRN_PREFIXES", prefixes().c_str(), 1);
  }
  ~Scheduling() override {
    unsetenv("XDG_STATE_HOME");
    unsetenv("CAIRN_PREFIXES");
  }
  std::string model() const { return folder_.file("tiny.gguf"); }
  std::string prefixes() const { return folder_.file("prefixes"); }
  size_t blocks() const {
    return fs::exists(prefixes()) ? static_cast<size_t>(std::distance(fs::directory_iterator(prefixes()), {}))
                                  : 0;
  }
  nlohmann::json bench(std::vector<std::string> flags) const {
    flags.insert(flags.begin(), {"bench", model(), "--threads", "2", "--repeat", "2", "--json", "-q"});
    Program program(flags);
    program.close_input();
    EXPECT_EQ(program.status(), 0) << program.err;
    return nlohmann::json::parse(program.out, nullptr, false);
  }
  // One turn of the chat; what was told.
  std::string chat(const std::string& line, const std::string& name = "mine", int status = 0) const {
    Program program({"chat", model(), "--temperature", "0", "-n", "8", "--ignore-end", "--resume", name,
                     "--context", "2048"});
    program.write(line + "\n");
    program.close_input();
    EXPECT_EQ(program.status(), status) << program.err;
    return program.err;
  }
  std::string conversation() const { return folder_.file("state/cairn/chats/mine.json"); }

  llm::TestFolder folder_;
};

TEST_F(Scheduling, BenchDecodesManyTogether) {
  const auto r = bench({"--sequences", "3", "--prompt", "20", "--generate", "4"});
  EXPECT_EQ(r["sequences"], 3);
  EXPECT_GT(r["alone_tok_s"], 0);
  EXPECT_GT(r["together_tok_s"], 0);
  EXPECT_GT(r["ratio"], 0);
  EXPECT_EQ(r["rounds"].size(), 2u);
}

TEST_F(Scheduling, BenchTimesTheGapsBesideAPrompt) {
  const auto r = bench({"--gap", "--sequences", "2", "--prompt", "300", "--chunk", "64"});
  EXPECT_EQ(r["sequences"], 2);
  EXPECT_EQ(r["chunk"], 64);
  EXPECT_GE(r["longest_s"], r["median_s"]);
  EXPECT_GT(r["median_s"], 0);
  EXPECT_GT(r["chunk_s"], 0);
  EXPECT_GT(r["ratio"], 0);
  EXPECT_EQ(r["rounds"].size(), 2u);
}

TEST_F(Scheduling, BenchStartsAgain) {
  const auto r = bench({"--restart", "--prompt", "300"});
  EXPECT_EQ(r["cached_tokens"], 256);
  EXPECT_GT(r["bytes"], 0);
  EXPECT_GT(r["first_s"], 0);
  EXPECT_GT(r["again_s"], 0);
  EXPECT_EQ(blocks(), 0u);  // it has a folder of its own
}

TEST_F(Scheduling, RunKeepsItsPrefix) {
  std::string answers[3];
  for (int i = 0; i < 3; ++i) {
    std::vector<std::string> flags = {"run", model(),  "--temperature", "0",        "-n",
                                      "8",   "--json", "--raw",         "--prompt", std::string(400, 'q')};
    if (i > 0) flags.push_back("--keep-prefix");
    Program program(flags);
    program.close_input();
    ASSERT_EQ(program.status(), 0) << program.err;
    const auto json = nlohmann::json::parse(program.out);
    answers[i] = json["text"];
    EXPECT_EQ(json["cached_tokens"].get<int>() > 0, i == 2) << json.dump();
    EXPECT_EQ(blocks() > 0, i > 0);
  }
  EXPECT_EQ(answers[0], answers[1]);
  EXPECT_EQ(answers[0], answers[2]);
}

TEST_F(Scheduling, ChatGoesOnWhereItWas) {
  chat(std::string(300, 'q'));
  EXPECT_GT(blocks(), 0u);
  const std::string second = chat("and then?");
  EXPECT_THAT(second, testing::Not(HasSubstr("(0 more were cached")));
  EXPECT_THAT(second, HasSubstr("more were cached"));
  const auto saved = nlohmann::json::parse(std::ifstream(conversation()));
  ASSERT_EQ(saved["messages"].size(), 4u);
  EXPECT_EQ(saved["messages"][2]["content"], "and then?");
  EXPECT_FALSE(saved["tokens"].empty());
}

TEST_F(Scheduling, ChatSaysWhatItCannotTakeUpOrKeep) {
  EXPECT_THAT(chat("x", "../mine", 2), HasSubstr("--resume ../mine: cannot be a chat's name"));
  chat("hello");
  std::ofstream(conversation()) << "{\"messages\": 3}";
  EXPECT_THAT(chat("x", "mine", 1), HasSubstr("mine.json: a conversation is an array of messages"));
  std::ofstream(conversation()) << "{";
  EXPECT_THAT(chat("x", "mine", 1), HasSubstr("mine.json: not JSON"));
  fs::remove_all(prefixes());
  std::ofstream(prefixes()) << "no folder";
  fs::remove(conversation());
  EXPECT_THAT(chat("x " + std::string(300, 'q')), HasSubstr("prefixes are not kept on disk"));
}

}  // namespace
}  // namespace cairn::cli
