// What a person at a terminal finds in `chat`: pasting, typing ahead, wrapping, completion, stopping, and the
// commands of other programs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "llm/tiny_model.hpp"
#include "session_program.hpp"

namespace cairn::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

class ChatTerminal : public testing::Test {
 protected:
  ChatTerminal() {
    llm::write_tiny_model(model(), {.context = 8192});
    setenv("XDG_STATE_HOME", folder_.file("state").c_str(), 1);
    setenv("HOME", folder_.file("").c_str(), 1);
    setenv("TERM", "xterm", 1);
  }
  std::string model() const { return folder_.file("tiny.gguf"); }
  std::vector<std::string> command(std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"chat", model(), "--temperature", "0", "--threads", "1", "--context", "8192"});
    return more;
  }
  nlohmann::json saved() const { return nlohmann::json::parse(std::ifstream(folder_.file("saved.json"))); }
  // What a chat on pipes answers to these lines.
  static std::string piped(std::vector<std::string> arguments, const std::string& lines, int status = 0) {
    arguments.insert(arguments.end(), {"--commands", "--force"});
    Program program(std::move(arguments));
    program.write(lines);
    program.close_input();
    EXPECT_EQ(program.status(), status) << program.err;
    return program.out + program.err;
  }
  llm::TestFolder folder_;
};

TEST_F(ChatTerminal, APasteIsOneMessage) {
  Program program(command({"-n", "2"}), Program::Input::terminal);
  program.expect("\x1b[?2004h");  // asks for pastes to be marked
  program.expect_prompt();
  program.write("\x1b[200~one\rtwo\tx\r\x1b[31mthree\r\x1b[201~");
  program.expect("three");
  program.write("\r");
  program.wait_for([&] { return program.err.find("decode") != std::string::npos; });
  program.expect_prompt();
  program.write("/save ~/saved.json\r/bye\r");
  EXPECT_EQ(program.status(), 0) << program.err;
  ASSERT_EQ(saved().size(), 2u);
  EXPECT_EQ(saved()[0]["content"], "one\ntwo\tx\n[31mthree");
  EXPECT_THAT(program.out, HasSubstr("\x1b[?2004l"));
}

TEST_F(ChatTerminal, KeysTypedDuringAnAnswerComeAfterIt) {
  llm::write_tiny_model(model(), {.context = 1 << 17});
  Program program({"chat", model(), "--threads", "1", "--context", "100000", "--ignore-end"},
                  Program::Input::terminal);
  const tcflag_t before = program.terminal().c_lflag;
  program.expect_prompt();
  program.write("talk\r");
  program.wait_for([&] { return (program.terminal().c_lflag & (ICANON | ECHO)) == ICANON; });
  program.wait_for([&] { return program.out.size() > 100; });
  program.write("@@@@@@@@");
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  program.signal(SIGINT);  // not the key, which would drop what is typed ahead
  program.wait_for([&] { return program.err.find("decode") != std::string::npos; });
  program.expect("@@@@@@@@");
  // Shown at the prompt, not between the answer's characters.
  EXPECT_GT(program.out.find("@@@@@@@@"), program.out.rfind("\x1b[?2004h"));
  program.write("\x03");
  program.expect("^C");
  program.expect_prompt();
  program.write("/bye\r");
  program.wait_for([&] { return program.ended(); });
  EXPECT_EQ(program.terminal().c_lflag, before);
}

TEST_F(ChatTerminal, AnswersAreWrappedBetweenWords) {
  Program program(command({"--system", "x", "--ignore-end", "-n", "400"}), Program::Input::terminal);
  winsize size = {.ws_row = 24, .ws_col = 30, .ws_xpixel = 0, .ws_ypixel = 0};
  program.resize(size);
  program.expect_prompt();
  program.write("talk\r");
  program.wait_for([&] { return program.err.find("decode") != std::string::npos; });
  // No line of the answer is wider than the window.
  const size_t begin = program.out.rfind("\x1b[?2004l");
  std::string answer = program.out.substr(begin + 8);
  answer = answer.substr(0, answer.find("\x1b[?2004h"));
  size_t lines = 0;
  std::istringstream in(answer);
  for (std::string line; std::getline(in, line); ++lines) {
    size_t columns = 0, widest = 0;
    for (size_t i = 0; i < line.size(); ++i) {
      if (line[i] == '\x1b') {  // ESC [ n D: back n columns
        const size_t end = line.find_first_of("DK", i);
        if (line[end] == 'D') columns -= std::stoul(line.substr(i + 2, end - i - 2));
        i = end;
      } else if (line[i] != '\r' && (line[i] & 0xC0) != 0x80) {
        widest = std::max(widest, ++columns);
      }
    }
    EXPECT_LE(widest, 30u) << line;
  }
  EXPECT_GT(lines, 5u);
  program.write("/bye\r");
  EXPECT_EQ(program.status(), 0);
}

TEST_F(ChatTerminal, TabCompletes) {
  std::ofstream(folder_.file("letter.json")) << "[]";
  Program program(command({"-n", "2"}), Program::Input::terminal);
  program.expect_prompt();
  program.write("/reg\t");
  program.expect("enerate");
  program.write("\x15/s\t");  // several: a list
  program.expect("/save  /set  /stats  /system");
  program.write("\x15/load ~/lett\t");
  program.expect("er.json");
  program.write("\r");
  program.expect("letter.json: 0 messages");
  program.expect_prompt();
  program.write("/bye\r");
  EXPECT_EQ(program.status(), 0) << program.err;
}

TEST_F(ChatTerminal, CtrlZStopsAndGoesOn) {
  const std::string chat = std::string(CAIRN_PROGRAM) + " chat " + model() + " -n 2 --temperature 0";
  Program program({"-c", "set -m; " + chat + "; echo stop''ped; read line; fg >/dev/null"},
                  Program::Input::terminal, Program::Errors::terminal, "/bin/bash");
  program.expect_prompt();
  program.write("hel\x1a");
  program.expect("stopped");
  EXPECT_NE(program.terminal().c_lflag & ICANON, 0u);  // the shell's terminal meanwhile
  EXPECT_NE(program.terminal().c_lflag & ECHO, 0u);
  program.write("\r");
  program.wait_for([&] { return (program.terminal().c_lflag & ICANON) == 0; });
  program.write("lo\r");
  program.expect("decode");
  program.expect_prompt();
  program.write("/save ~/saved.json\r/bye\r");
  EXPECT_EQ(program.status(), 0) << program.out;
  EXPECT_EQ(saved()[0]["content"], "hello");
}

TEST_F(ChatTerminal, CommandsOfOtherProgramsWork) {
  EXPECT_THAT(piped(command({"-n", "2"}), "/?\n/bye\nnever\n"), HasSubstr("/regenerate"));
  const std::string set = piped(command({"-n", "2"}),
                                "/set temperature 0.25\n/set parameter top_k 7\n/set num_predict 9\n/set\n");
  for (const char* text : {"temperature 0.25", "top-k 7", "max-tokens 9", "seed random"})
    EXPECT_THAT(set, HasSubstr(text));
  EXPECT_THAT(piped(command(), "/set temprature 1\n", 2), HasSubstr("did you mean 'temperature'?"));
  EXPECT_THAT(piped(command(), "/set top-k many\n", 2), HasSubstr("'many' is not a whole number"));
  EXPECT_THAT(piped(command(), "/set top-p 7\n", 2), HasSubstr("top_p is 7"));
  EXPECT_THAT(piped(command(), "/regnerate\n", 2), HasSubstr("did you mean '/regenerate'?"));
}

TEST_F(ChatTerminal, LoadTakesUpAConversationOrAModel) {
  piped(command({"-n", "2"}), "hello\n/save ~/saved.json\n");
  const std::string again =
      piped(command({"-n", "2"}), "/load ~/saved.json\nmore\n/save " + folder_.file("saved.json") + "\n");
  EXPECT_THAT(again, HasSubstr("2 messages"));
  ASSERT_EQ(saved().size(), 4u);
  EXPECT_EQ(saved()[0]["content"], "hello");
  llm::write_tiny_model(folder_.file("other.gguf"), {.context = 64});
  EXPECT_THAT(
      piped({"chat", model(), "-n", "2"}, "hello\n/load " + folder_.file("other.gguf") + "\nmore\n/stats\n"),
      HasSubstr("of 64 positions"));
  std::ofstream(folder_.file("bad.json")) << "[{\"role\": 3}]";
  EXPECT_THAT(piped(command(), "/load ~/bad.json\n", 1), HasSubstr("a message needs a role and a content"));
  EXPECT_THAT(piped(command(), "/load nothing\n", 1), HasSubstr("nothing: no such file"));
}

TEST_F(ChatTerminal, ClearForgetsPositionsToo) {
  const std::string said = piped(command({"-n", "2", "--no-stats"}), "hello\n/clear\n/stats\n");
  EXPECT_THAT(said, HasSubstr("context: 0 of 8192 positions"));
  EXPECT_THAT(said, HasSubstr("prefill 0 tokens"));
}

}  // namespace
}  // namespace cairn::cli
