// The whole program given what it cannot use: each time one line that names the file and the reason, and an
// exit status that a script can see. What concerns prompts and chats is in run_test.cpp and chat_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>

#include "base/temporary_folder.hpp"
#include "llm/tiny_model.hpp"
#include "session_program.hpp"

namespace cairn::cli {
namespace {

using cairn::testing::read_file;
using cairn::testing::ScopedVariable;
using cairn::testing::TemporaryFolder;
using cairn::testing::write_file;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class BadInput : public ::testing::Test {
 protected:
  BadInput() { llm::write_tiny_model(good_); }

  // Runs the program and expects one line on stderr with all of `parts`, nothing on stdout, and `status`.
  static void expect_line(const std::vector<std::string>& arguments, int status,
                          const std::vector<std::string>& parts) {
    Program program(arguments);
    program.close_input();
    EXPECT_EQ(program.status(), status) << program.err;
    EXPECT_EQ(program.out, "");
    EXPECT_THAT(program.err, StartsWith("cairn: "));
    EXPECT_EQ(std::count(program.err.begin(), program.err.end(), '\n'), 1) << program.err;
    for (const std::string& part : parts) EXPECT_THAT(program.err, HasSubstr(part));
  }

  // Expects the same of every command that opens a model.
  static void expect_unusable(const std::string& path, const std::string& reason) {
    for (const std::vector<std::string>& arguments :
         std::initializer_list<std::vector<std::string>>{{"run", path, "-p", "x"},
                                                         {"chat", path},
                                                         {"bench", path, "--prompt", "8", "--generate", "2"},
                                                         {"eval", path, "--perplexity", path},
                                                         {"inspect", path, "--graph"},
                                                         {"tokenize", path, "-p", "x"}}) {
      SCOPED_TRACE(arguments[0]);
      expect_line(arguments, 1, {path, reason});
    }
  }

  // The tiny model with `change` applied to its bytes.
  std::string changed(const std::function<void(std::string&)>& change) const {
    std::string bytes = read_file(good_);
    change(bytes);
    write_file(bad_, bytes);
    return bad_;
  }

  // The position after a key or tensor name, which stands in the file with its length before it.
  static size_t after(const std::string& bytes, const std::string& name) {
    std::string written(8, '\0');
    const uint64_t size = name.size();
    std::memcpy(written.data(), &size, sizeof size);
    const size_t found = bytes.find(written + name);
    if (found == std::string::npos) throw std::runtime_error("the tiny model has no " + name);
    return found + 8 + name.size();
  }

  template <class Value>
  static void put(std::string& bytes, size_t position, Value value) {
    std::memcpy(bytes.data() + position, &value, sizeof value);
  }

  const TemporaryFolder folder_;
  const std::string good_ = folder_ / "good.gguf", bad_ = folder_ / "bad.gguf";
  const ScopedVariable models_{"CAIRN_MODELS", folder_.path().c_str()};
};

TEST_F(BadInput, MissingModels) {
  expect_unusable(folder_ / "none.gguf", "no such file");
  expect_line({"run", "smollm2-135m", "-p", "x"}, 1, {"run: cairn pull smollm2-135m"});
  expect_unusable(folder_.path(), "is a directory");
}

TEST_F(BadInput, EmptyAndForeignFiles) {
  write_file(bad_, "");
  expect_unusable(bad_, "empty");
  write_file(bad_, "PK\3\4 this is some other file, long enough for a header");
  expect_unusable(bad_, "GGUF");
}

TEST_F(BadInput, TruncatedFiles) {
  const std::string whole = read_file(good_);
  for (const size_t size : {size_t{3}, size_t{4}, size_t{20}, whole.size() / 50, whole.size() / 10,
                            whole.size() / 2, whole.size() - 4096}) {
    SCOPED_TRACE(size);
    write_file(bad_, whole.substr(0, size));
    expect_line({"run", bad_, "-p", "x"}, 1, {bad_});
    expect_line({"inspect", bad_}, 1, {bad_});
  }
}

TEST_F(BadInput, UnknownVersion) {
  changed([](std::string& bytes) { put<uint32_t>(bytes, 4, 77); });
  expect_unusable(bad_, "77");
}

TEST_F(BadInput, UnknownArchitecture) {
  changed([](std::string& bytes) {
    bytes.replace(after(bytes, "general.architecture") + 4 + 8, 5, "lamma");  // type, length, text
  });
  for (const std::vector<std::string>& arguments : std::initializer_list<std::vector<std::string>>{
           {"run", bad_, "-p", "x"}, {"chat", bad_}, {"bench", bad_}}) {
    expect_line(arguments, 1, {bad_, "lamma"});
  }
}

TEST_F(BadInput, UnknownEncoding) {
  changed([](std::string& bytes) {
    put<uint32_t>(bytes, after(bytes, "blk.0.ffn_up.weight") + 4 + 2 * 8, 99);  // dimensions, two sizes
  });
  expect_line({"run", bad_, "-p", "x"}, 1, {bad_, "blk.0.ffn_up.weight", "99"});
}

TEST_F(BadInput, SizesThatDisagree) {
  changed([](std::string& bytes) {
    put<uint64_t>(bytes, after(bytes, "blk.1.ffn_up.weight") + 4 + 8, 127);  // rows: 128 before
  });
  expect_line({"run", bad_, "-p", "x"}, 1, {bad_, "blk.1.ffn_up.weight", "127"});
  changed([](std::string& bytes) { put<uint32_t>(bytes, after(bytes, "llama.block_count") + 4, 3); });
  expect_line({"run", bad_, "-p", "x"}, 1, {bad_, "blk.2."});
  changed(
      [](std::string& bytes) { put<uint32_t>(bytes, after(bytes, "llama.attention.head_count") + 4, 0); });
  expect_line({"run", bad_, "-p", "x"}, 1, {bad_, "head_count"});
  changed([](std::string& bytes) { put<uint64_t>(bytes, 8, uint64_t{1} << 60); });  // count of tensors
  expect_line({"run", bad_, "-p", "x"}, 1, {bad_});
}

TEST_F(BadInput, NanInTheLogits) {
  llm::write_tiny_model(bad_, {.poisoned = "blk.1.ffn_norm.weight"});
  write_file(folder_ / "text", std::string(2000, 'x'));
  expect_line({"run", bad_, "-p", "hello", "--precision", "f32"}, 1, {"position"});
  expect_line({"eval", bad_, "--perplexity", folder_ / "text", "--context", "64", "--precision", "f32"}, 1,
              {"position"});
  llm::write_tiny_model(bad_, {.poisoned = "output.weight"});
  expect_line({"run", bad_, "-p", "hello"}, 1, {"position"});
}

TEST_F(BadInput, PromptLongerThanTheContext) {
  expect_line({"run", good_, "--raw", "-p", std::string(50, '\n') + "abc", "--context", "16"}, 2, {"16"});
  Program counting({"tokenize", good_, "-p", std::string(400, '7'), "--json"});
  EXPECT_EQ(counting.status(), 0) << counting.err;
  expect_line({"run", good_, "--raw", "-p", std::string(400, '7')}, 2, {"400 tokens", "256"});
}

TEST_F(BadInput, Threads) {
  for (const char* command : {"run", "chat", "bench"}) {
    for (const char* threads : {"0", "10000", "-1", "two"}) {
      expect_line({command, good_, "--threads", threads}, 2, {"--threads"});
    }
  }
  expect_line({"eval", good_, "--perplexity", good_, "--threads", "0"}, 2, {"--threads"});
}

TEST_F(BadInput, UnwritableOutput) {
  const std::vector<std::string> synth = {"synth", "--shape",      "qwen1.5-1.8b", "--layers",
                                          "1",     "--vocabulary", "300",          "-o"};
  const auto to = [&](const std::string& path) {
    std::vector<std::string> all = synth;
    all.push_back(path);
    return all;
  };
  const size_t before = folder_.entries();
  expect_line(to(folder_ / "none/model.gguf"), 1, {folder_ / "none/model.gguf", "No such file"});
  expect_line(to(folder_.path()), 1, {folder_.path(), "directory"});
  expect_line(to("/dev/full"), 1, {"/dev/full", "No space left on device"});
  EXPECT_EQ(folder_.entries(), before);
}

TEST_F(BadInput, CommandLines) {
  expect_line({"rnu"}, 2, {"rnu"});
  expect_line({"run"}, 2, {"MODEL"});
  expect_line({"run", good_, "--nonsense"}, 2, {"--nonsense"});
  expect_line({"pull"}, 2, {"MODEL"});
  expect_line({"bench"}, 2, {"MODEL"});
  expect_line({"synth", "--shape", "gpt-5", "-o", bad_}, 2, {"gpt-5"});
  expect_line({"synth", "--shape", "phi-2", "--encoding", "q9", "-o", bad_}, 2, {"q9"});
  expect_line({"run", good_, "-n", "99999999999999999999", "-p", "x"}, 2, {"max-tokens"});
}

TEST_F(BadInput, ErrorsObeyNoFile) {
  // A name that clears a terminal, turns the text around and is no UTF-8.
  expect_line({"run", folder_ / "\x1b[2J\xc2\x9b\xe2\x80\xae\xff", "-p", "x"}, 1,
              {"\\x1b[2J\\u009b\\u202e\\xff"});
  expect_line({"run", changed([](std::string& bytes) {
                 const size_t at = after(bytes, "general.architecture") + 4 + 8;
                 bytes.replace(at, 5, "\xc2\x9b\xe2\x80\x8f");
               }),
               "-p", "x"},
              1, {"\\u009b\\u200f"});
}

TEST_F(BadInput, InvalidUtf8AndEmptyTexts) {
  write_file(folder_ / "text", "caf\xc3 \xff\xfe\xf0\x9f ok");
  Program tokens({"tokenize", good_, "--file", folder_ / "text", "--ids"});
  EXPECT_EQ(tokens.status(), 0) << tokens.err;
  Program answer({"run", good_, "-f", folder_ / "text", "-n", "3", "--json"});
  EXPECT_EQ(answer.status(), 0) << answer.err;
  write_file(folder_ / "text", "");
  expect_line({"eval", good_, "--perplexity", folder_ / "text"}, 2, {"0 tokens"});
  expect_line({"eval", good_, "--lambada", folder_ / "text"}, 1, {folder_ / "text"});
}

TEST_F(BadInput, InstructionSets) {
  const ScopedVariable target("CAIRN_TARGET", "sparc");
  expect_line({"devices"}, 2, {"CAIRN_TARGET", "sparc"});
  expect_line({"run", good_, "-p", "x"}, 2, {"CAIRN_TARGET", "sparc"});
}

TEST_F(BadInput, FullAndClosedOutput) {
  for (const std::string arguments : {"devices", "inspect good", "run good -p x -n 2 --no-stats"}) {
    const std::string command = std::string(CAIRN_PROGRAM) + " " + arguments + " > /dev/full 2> " + bad_;
    const int status = std::system(command.c_str());
    EXPECT_EQ(WEXITSTATUS(status), 1) << arguments;
    EXPECT_EQ(read_file(bad_), "cairn: cannot write to standard output: No space left on device\n")
        << arguments;
  }
  Program closed({"inspect", good_, "--full"});
  closed.close_output();
  EXPECT_EQ(closed.status(), 1000 + SIGPIPE);
  EXPECT_EQ(closed.err, "");
}

}  // namespace
}  // namespace cairn::cli
