// --speculate through the program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "llm/tiny_model.hpp"
#include "resident/plain_stack.hpp"
#include "session_program.hpp"

namespace cairn::cli {
namespace {

using ::testing::HasSubstr;

class Speculate : public ::testing::Test {
 protected:
  Speculate() {
    llm::write_tiny_model(file("model"));
    resident::write_plain_stack(file("model"), file("stack"));
  }
  std::string file(const std::string& name) const { return folder_.file(name + ".gguf"); }
  void refused(std::vector<std::string> words, const std::string& why) const {
    words.insert(words.end(), {"-p", "x", "-n", "2"});
    Program program(words);
    program.close_input();
    EXPECT_EQ(program.status(), 2);
    EXPECT_THAT(program.err, HasSubstr(why));
    EXPECT_EQ(std::count(program.err.begin(), program.err.end(), '\n'), 1) << program.err;
  }

  llm::TestFolder folder_;
};

TEST_F(Speculate, LeavesTheTextAsItIs) {
  const auto run = [&](const std::string& speculate) {
    Program program({"run", file("stack"), "-p", "one two three one two three one two three", "-n", "100",
                     "-t", "1", "-s", "3", "--temperature", "0.4", "--ignore-end", "--json", "--speculate",
                     speculate});
    program.close_input();
    EXPECT_EQ(program.status(), 0) << program.err;
    return nlohmann::json::parse(program.out);
  };
  const auto plain = run("none");
  EXPECT_EQ(plain["guessed_tokens"], 0);
  EXPECT_EQ(plain["decode_steps"], 99);
  for (const std::string& how : {std::string("lookup"), std::string("self"), "draft:" + file("model"),
                                 std::string("auto"), "auto:" + file("model")}) {
    const auto guessing = run(how);
    EXPECT_EQ(guessing["tokens"], plain["tokens"]) << how;
    if (how != "lookup") {
      EXPECT_GT(guessing["guessed_tokens"].get<int>(), 0) << how;
    }
    EXPECT_EQ(guessing["decode_steps"].get<int>() + guessing["accepted_tokens"].get<int>(), 99) << how;
  }
}

TEST_F(Speculate, ChatsAndMeasuresToo) {
  Program chat({"chat", file("stack"), "-n", "20", "--speculate", "self", "--ignore-end"});
  chat.write("hello\nand again\n");
  chat.close_input();
  EXPECT_EQ(chat.status(), 0) << chat.err;
  for (const std::string& how : {std::string("self"), "draft:" + file("model")}) {
    Program bench({"bench", file("stack"), "--prompt", "16", "--generate", "40", "--repeat", "2", "--json",
                   "--speculate", how});
    bench.close_input();
    ASSERT_EQ(bench.status(), 0) << bench.err;
    const auto json = nlohmann::json::parse(bench.out);
    EXPECT_GT(json["speculate_gain"].get<double>(), 0);
    EXPECT_GE(json["speculate_tokens_a_step"].get<double>(), 1);
    EXPECT_LE(json["speculate_accepted"].get<int>(), json["speculate_guessed"].get<int>());
  }
}

TEST_F(Speculate, SaysInOneLineWhatCannotBe) {
  llm::write_tiny_model(file("other"), {.control = {"<|im_start|>", "<|other|>"}});
  refused({"run", file("model"), "--speculate", "magic"}, "--speculate magic: not one of none, lookup, self");
  refused({"run", file("model"), "--speculate", "draft"}, "--speculate draft: not one of");
  refused({"run", file("model"), "--speculate", "draft:"}, "--speculate draft:: not one of");
  refused({"run", file("model"), "--speculate", "lookup:x"}, "--speculate lookup:x: not one of");
  refused({"run", file("model"), "--speculate", "self"}, file("model") + " is no stack");
  refused({"run", file("model"), "--speculate", "draft:" + file("other")},
          file("other") + " cannot draft for " + file("model"));
  Program missing({"run", file("model"), "-p", "x", "--speculate", "draft:nowhere"});
  missing.close_input();
  EXPECT_EQ(missing.status(), 1);
  EXPECT_THAT(missing.err, HasSubstr("nowhere"));
}

}  // namespace
}  // namespace cairn::cli
