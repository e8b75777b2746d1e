// The program as one file for phones (src/static), under the emulator, in a folder where nothing else is.
#ifdef CAIRN_STATIC_PROGRAM
#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/temporary_folder.hpp"
#include "llm/tiny_model.hpp"
#include "session_program.hpp"

namespace cairn::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::TemporaryFolder;

class Static : public ::testing::Test {
 protected:
  Static() {
    std::filesystem::copy_file(CAIRN_STATIC_PROGRAM, folder_ / "cairn");
    llm::write_tiny_model(folder_ / "tiny.gguf");
  }
  struct Said {
    int status;
    std::string out, err;
  };
  // With no variable but HOME. QEMU would show it this machine's /usr otherwise: -L names an
  // empty folder.
  Said run(const std::vector<std::string>& arguments, std::vector<std::string> options = {}) const {
    std::vector<std::string> all = {"-i",           "-C", folder_.path(), "HOME=" + folder_.path(),
                                    CAIRN_EMULATOR, "-L", folder_.path()};
    all.insert(all.end(), options.begin(), options.end());
    all.push_back("./cairn");
    all.insert(all.end(), arguments.begin(), arguments.end());
    Program program(all, Program::Input::pipe, Program::Errors::pipe, "/usr/bin/env");
    program.close_input();
    const int status = program.status();
    return {status, program.out, program.err};
  }

  TemporaryFolder folder_;
};

TEST_F(Static, IsOneFileOf25MBAtMost) {
  const std::string bytes = testing::read_file(folder_ / "cairn");
  EXPECT_LE(bytes.size(), 25'000'000u);
  Elf64_Ehdr head;
  ASSERT_GE(bytes.size(), sizeof head);
  std::memcpy(&head, bytes.data(), sizeof head);
  EXPECT_EQ(head.e_machine, EM_AARCH64);
  for (uint16_t i = 0; i < head.e_phnum; ++i) {
    Elf64_Phdr part;
    ASSERT_LE(head.e_phoff + (i + 1) * sizeof part, bytes.size());
    std::memcpy(&part, bytes.data() + head.e_phoff + i * sizeof part, sizeof part);
    EXPECT_NE(part.p_type, PT_INTERP);
    EXPECT_NE(part.p_type, PT_DYNAMIC);
    if (part.p_type == PT_LOAD) {
      EXPECT_EQ(part.p_align % (64 << 10), 0u) << "pages of 64 KiB";
    }
  }
}

TEST_F(Static, TellsWhatItIsOn) {
  const Said said = run({"devices"});
  EXPECT_EQ(said.status, 0) << said.err;
  EXPECT_THAT(said.out, AllOf(HasSubstr("instruction sets: portable neon"),
                              HasSubstr("cannot be opened by a static cairn")));
  EXPECT_EQ(said.err, "");
}

TEST_F(Static, AnswersAsTheOtherOne) {
  const std::vector<std::string> question = {"run", folder_ / "tiny.gguf", "-p",     "hello",         "-n",
                                             "12",  "--ignore-end",        "--json", "--temperature", "0"};
  Program other(question);
  other.close_input();
  ASSERT_EQ(other.status(), 0) << other.err;
  const Said said = run(question);
  ASSERT_EQ(said.status, 0) << said.err;
  const auto tokens = [](const std::string& out) { return nlohmann::json::parse(out)["tokens"]; };
  EXPECT_EQ(tokens(said.out), tokens(other.out));
  EXPECT_EQ(tokens(said.out).size(), 12u);
}

TEST_F(Static, RunsAGoldenModelsBenchmark) {
  std::filesystem::copy_file(CAIRN_TEST_DATA "/golden_models/llama.gguf", folder_ / "llama.gguf");
  const Said said =
      run({"bench", "llama.gguf", "--prompt", "16", "--generate", "4", "--repeat", "1", "--json"});
  ASSERT_EQ(said.status, 0) << said.err;
  EXPECT_GT(nlohmann::json::parse(said.out)["decode_tok_s"], 0);
}

TEST_F(Static, SaysInOneLineWhatItCannot) {
  const auto expect_refused = [&](const std::vector<std::string>& arguments, const std::string& why) {
    const Said said = run(arguments);
    EXPECT_NE(said.status, 0);
    EXPECT_THAT(said.err, HasSubstr(why));
    EXPECT_EQ(std::ranges::count(said.err, '\n'), 1) << said.err;
  };
  const std::string opens =
      "cannot be opened by a static cairn: that needs the one of several files (docs/arm64.md)";
  expect_refused({"video", "decode", "clip.mkv", "-o", "clip.y4m"}, "libcairn_video.so " + opens);
  testing::write_file(folder_ / "any.json", "{}");
  expect_refused({"run", "tiny.gguf", "-p", "x", "--json-schema", "any.json"},
                 "libcairn_grammar.so " + opens);
  expect_refused({"run", "tiny.gguf", "-p", "x", "--prefill", "onnx:CPU"}, "ONNX Runtime " + opens);
  expect_refused({"pull", "https://example.com/m.gguf"}, "a static cairn downloads nothing");
}

// Android ends apps for them (tools/android_calls.py); -strace prints each call.
TEST_F(Static, MakesNoCallsThatAndroidRefuses) {
  const Said said = run({"run", "tiny.gguf", "-p", "hello", "-n", "4", "--threads", "3"}, {"-strace"});
  EXPECT_EQ(said.status, 0);
  EXPECT_THAT(said.err, AllOf(HasSubstr("openat("), Not(HasSubstr("set_robust_list")), Not(HasSubstr("rseq")),
                              Not(HasSubstr("clone3"))));
}

// The one of several files (tools/bundle.py) brings its C library and opens others: here one of cairn's own
// for tests.
TEST_F(Static, OpensLibrariesWhereItIsBundled) {
  const std::string archive = folder_ / "bundle.tar.gz";
  Program pack({std::filesystem::path(CAIRN_STATIC_PROGRAM).parent_path(), archive}, Program::Input::pipe,
               Program::Errors::pipe, CAIRN_TEST_DATA "/../../tools/bundle.py");
  ASSERT_EQ(pack.status(), 0) << pack.err;
  Program unpack({"-xzf", archive, "-C", folder_.path(), "--strip-components=1"}, Program::Input::pipe,
                 Program::Errors::pipe, "/usr/bin/tar");
  std::filesystem::remove(folder_ / "cairn");
  ASSERT_EQ(unpack.status(), 0) << unpack.err;
  EXPECT_THAT(testing::read_file(folder_ / "cairn"), HasSubstr("--library-path"));
  Program program(
      {"-i", "-C", folder_.path(), std::string("CAIRN_ONNXRUNTIME=") + CAIRN_FAKE_ONNXRUNTIME, CAIRN_EMULATOR,
       "-L", folder_.path(), "lib/ld-linux-aarch64.so.1", "--library-path", "lib", "lib/cairn", "devices"},
      Program::Input::pipe, Program::Errors::pipe, "/usr/bin/env");
  EXPECT_EQ(program.status(), 0) << program.err;
  EXPECT_THAT(program.out,
              AllOf(HasSubstr("instruction sets: portable neon"), HasSubstr("cairn needs 1.22 or newer")));
}

}  // namespace
}  // namespace cairn::cli
#endif
