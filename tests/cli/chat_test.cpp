#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "llm/tiny_model.hpp"
#include "session_program.hpp"

namespace cairn::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

class Chat : public testing::Test {
 protected:
  Chat() {
    llm::write_tiny_model(model(), {.context = 8192});
    setenv("XDG_STATE_HOME", folder_.file("state").c_str(), 1);
    setenv("TERM", "xterm", 1);
  }

  std::string model() const { return folder_.file("tiny.gguf"); }
  std::string history() const { return folder_.file("state/cairn/chat_history"); }

  std::vector<std::string> command(std::vector<std::string> more = {}) const {
    std::vector<std::string> all = {"chat",      model(), "--temperature", "0",
                                    "--threads", "1",     "--context",     "8192"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  nlohmann::json saved() const { return nlohmann::json::parse(std::ifstream(folder_.file("saved.json"))); }

  llm::TestFolder folder_;
};

TEST_F(Chat, ReadsPlainLinesFromAPipe) {
  Program program(command({"-n", "5", "--commands"}));
  program.write("first\n\nsecond \\\nline\n\"\"\"\na\n\nb\n\"\"\"\n/save " + folder_.file("saved.json") +
                "\n/exit\nnever\n");
  program.close_input();
  ASSERT_EQ(program.status(), 0) << program.err;
  EXPECT_THAT(program.out, Not(HasSubstr("> ")));
  const auto messages = saved();
  ASSERT_EQ(messages.size(), 6u);
  EXPECT_EQ(messages[0]["role"], "user");
  EXPECT_EQ(messages[0]["content"], "first");
  EXPECT_EQ(messages[1]["role"], "assistant");
  EXPECT_EQ(messages[2]["content"], "second \nline");
  EXPECT_EQ(messages[4]["content"], "a\n\nb");
  EXPECT_THAT(program.err, HasSubstr("more were cached"));
}

TEST_F(Chat, Commands) {
  Program program(command({"-n", "4", "--system", "one", "--commands"}));
  program.write("hello\n/regenerate\n/stats\n/help\n/system two words\n/clear\nagain\n/save " +
                folder_.file("saved.json") + "\n");
  program.close_input();
  ASSERT_EQ(program.status(), 0) << program.err;
  EXPECT_THAT(program.out, HasSubstr("prefill 1 tokens"));  // the regenerated answer's
  EXPECT_THAT(program.out, HasSubstr("of 8192 positions"));
  EXPECT_THAT(program.out, HasSubstr("/regenerate"));
  const auto messages = saved();
  ASSERT_EQ(messages.size(), 3u);
  EXPECT_EQ(messages[0]["content"], "two words");
  EXPECT_EQ(messages[1]["content"], "again");
}

TEST_F(Chat, RepeatableAnswersTheSameAgain) {
  Program program(command({"-n", "12", "--repeatable", "--commands"}));
  program.write(std::string(200, 'q') + "\n/regenerate\n/save " + folder_.file("saved.json") + "\n");
  program.close_input();
  ASSERT_EQ(program.status(), 0) << program.err;
  const std::string answer = saved()[1]["content"];
  ASSERT_FALSE(answer.empty());
  EXPECT_THAT(program.out, HasSubstr(answer));
  EXPECT_LT(program.out.find(answer), program.out.rfind(answer));
}

TEST_F(Chat, TakesNoCommandsFromElsewhereThanATerminal) {
  Program program(command({"-n", "3"}));
  program.write("/save " + folder_.file("saved.json") + "\n/exit\nhello\n");
  program.close_input();
  EXPECT_EQ(program.status(), 0) << program.err;
  EXPECT_FALSE(std::filesystem::exists(folder_.file("saved.json")));
  EXPECT_EQ(std::count(program.err.begin(), program.err.end(), '\n'), 3) << "three messages, three answers";
}

TEST_F(Chat, SavesOverNothing) {
  std::ofstream(folder_.file("saved.json")) << "kept";
  for (const std::string& path : {folder_.file("saved.json"), model()}) {
    Program program(command({"-n", "3", "--commands"}));
    program.write("hello\n/save " + path + "\n");
    program.close_input();
    EXPECT_EQ(program.status(), 2);
    EXPECT_THAT(program.err, HasSubstr(path));
  }
  Program program(command({"-n", "3", "--commands", "--force"}));
  program.write("hello\n/save " + folder_.file("saved.json") + "\n");
  program.close_input();
  EXPECT_EQ(program.status(), 0) << program.err;
  EXPECT_EQ(saved().size(), 2u);
}

TEST_F(Chat, AsksBeforeItSavesOverAFile) {
  std::ofstream(folder_.file("saved.json")) << "{}";
  Program program(command({"-n", "3"}), Program::Input::terminal);
  program.expect_prompt();
  program.write("hello\r");
  program.expect_prompt();
  for (const auto& [answer, messages] : {std::pair<std::string, size_t>{"n", 0}, {"y", 2}}) {
    program.write("/save " + folder_.file("saved.json") + "\r");
    program.wait_for([&] { return program.out.ends_with("[y/N] "); });
    program.write(answer + "\r");
    program.expect_prompt();
    EXPECT_EQ(saved().size(), messages);
  }
  program.write("\x04");
  EXPECT_EQ(program.status(), 0);
}

TEST_F(Chat, ErrorsEndAScript) {
  for (const auto& [line, text] : std::vector<std::pair<std::string, std::string>>{
           {"/nonsense", "no such command"},
           {"/regenerate", "no answer to generate again"},
           {"/save", "needs a file's name"},
           {"/save /nowhere/at/all.json", "/nowhere/at/all.json"},
           {std::string(9000, '1'), "the context holds 8192"},
       }) {
    Program program(command({"--commands"}));
    program.write(line + "\n");
    program.close_input();
    EXPECT_NE(program.status(), 0) << line.substr(0, 40);
    EXPECT_THAT(program.err, HasSubstr(text));
  }
}

TEST_F(Chat, BaseModelsChatIfTheirVocabularySaysHow) {
  llm::write_tiny_model(model(), {.chat_template = ""});
  Program able(command({"-n", "3"}));
  able.write("hello\n");
  able.close_input();
  EXPECT_EQ(able.status(), 0) << able.err;

  llm::write_tiny_model(model(), {.chat_template = "", .control = {"<s>", "</s>"}});
  Program program(command());
  EXPECT_EQ(program.status(), 1);
  EXPECT_THAT(program.err, HasSubstr("no chat template"));
}

TEST_F(Chat, TerminalEditsLinesKeepsHistoryAndIsRestored) {
  {
    Program program(command({"-n", "3"}), Program::Input::terminal);
    const tcflag_t before = program.terminal().c_lflag;
    program.expect_prompt();
    program.write("helloo\x7f\r");  // a letter too many, taken back
    program.expect("hello");
    program.expect_prompt();
    program.write("dropped\x03");
    program.expect("^C");
    program.expect_prompt();
    program.write("/nonsense\r");
    program.expect("/nonsense");
    program.expect_prompt();
    EXPECT_THAT(program.err, HasSubstr("no such command"));
    program.write("\x1b[A\x1b[A\x15/save " + folder_.file("saved.json") + "\r");  // up, up, kill the line
    program.expect("saved.json");
    program.expect_prompt();
    program.write("\x04");
    program.wait_for([&] { return program.ended(); });
    EXPECT_EQ(program.terminal().c_lflag, before);
    EXPECT_EQ(program.status(), 0) << program.err;
  }
  const auto messages = saved();
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(messages[0]["content"], "hello");
  std::ifstream file(history());
  const std::string kept((std::istreambuf_iterator<char>(file)), {});
  EXPECT_THAT(kept, HasSubstr("hello\n"));
  EXPECT_THAT(kept, Not(HasSubstr("dropped")));

  Program next(command({"-n", "3"}), Program::Input::terminal);
  next.expect_prompt();
  next.write("\x1b[A\x1b[A\x1b[A");  // past /save and /nonsense, from the file
  next.expect("hello");
  next.write("\x03");
  next.expect_prompt();
  next.write("\x04");
  EXPECT_EQ(next.status(), 0);
}

TEST_F(Chat, CtrlCStopsTheAnswerOnly) {
  Program program(command({"--ignore-end"}), Program::Input::terminal);
  program.expect_prompt();
  program.write("talk\r");
  program.wait_for([&] { return program.out.size() > 60; });
  program.write("\x03");  // the terminal makes SIGINT of it
  program.wait_for([&] { return program.err.find("decode") != std::string::npos; });
  program.write("/save " + folder_.file("saved.json") + "\r/exit\r");
  EXPECT_EQ(program.status(), 0) << program.err;
  const auto messages = saved();
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_FALSE(messages[1]["content"].get<std::string>().empty());
}

// Byte by byte its own token: the prefill alone would take far longer than the test.
std::string long_text(size_t size) {
  std::string text;
  for (size_t i = 0; i < size; ++i) text += static_cast<char>('0' + i * 7 % 10);
  return text;
}

TEST_F(Chat, CtrlCStopsThePrefillOnly) {
  llm::write_tiny_model(model(), {.context = 1 << 20});
  Program program(
      {"chat", model(), "--threads", "1", "--context", "1000000", "-n", "5", "--system", long_text(120000)},
      Program::Input::terminal);
  program.expect_prompt();
  program.write("hello\r");
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  program.write("\x03");
  program.wait_for([&] { return program.err.find("decode 0 tokens") != std::string::npos; });
  program.write("/system\rhello\r/exit\r");
  EXPECT_EQ(program.status(), 0) << program.err;
  EXPECT_NE(program.err.find("decode", program.err.find("decode 0 tokens") + 6), std::string::npos);
}

TEST_F(Chat, InterruptWhilePrefillingFromAPipe) {
  llm::write_tiny_model(model(), {.context = 1 << 20});
  Program program({"chat", model(), "--threads", "1", "--context", "1000000"});
  program.write(long_text(200000) + "\n");  // more than a pipe holds: the program reads when this returns
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  program.signal(SIGINT);
  EXPECT_EQ(program.status(), 130);
  EXPECT_THAT(program.err, HasSubstr("decode 0 tokens"));
}

TEST_F(Chat, InterruptAndTerminationAtThePromptLeave) {
  Program program(command(), Program::Input::terminal);
  program.expect_prompt();
  program.signal(SIGTERM);
  EXPECT_EQ(program.status(), 130);

  Program piped(command({"--commands"}));
  piped.write("/help\n");
  piped.expect("/exit");
  piped.signal(SIGINT);
  EXPECT_EQ(piped.status(), 130);
}

}  // namespace
}  // namespace cairn::cli
