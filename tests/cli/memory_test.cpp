// --memory through the program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "resident/plain_stack.hpp"
#include "session_program.hpp"

namespace cairn::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Memory : public testing::Test {
 protected:
  static std::string model() { return std::string(CAIRN_TEST_DATA) + "/golden_models/llama.gguf"; }
  static std::string stack() {
    const std::string path =
        std::filesystem::temp_directory_path() / ("cairn-memory-" + std::to_string(getpid()) + ".gguf");
    if (!std::filesystem::exists(path)) resident::write_plain_stack(model(), path, {.rows_per_group = 16});
    return path;
  }
  static void TearDownTestSuite() { std::filesystem::remove(stack()); }
  static void bench(const std::string& path, const std::string& memory, int status, const std::string& part) {
    Program program({"bench", path, "--prompt", "8", "--generate", "2", "--repeat", "1", "--memory", memory});
    program.close_input();
    EXPECT_EQ(program.status(), status) << program.err;
    EXPECT_THAT(status == 0 ? program.out : program.err, HasSubstr(part));
  }
};

TEST_F(Memory, StacksTakeABudgetOrWhatThereIs) {
  bench(stack(), "2G", 0, "tok/s");
  bench(stack(), "auto", 0, "tok/s");
}

TEST_F(Memory, ABudgetBelowTheBaseSaysWhatIsNeeded) {
  bench(stack(), "1M", 1, "a budget of 1.0 MiB is too small: with the stack's base alone");
}

TEST_F(Memory, OtherModelsAreOfFixedSizeAndSaySo) {
  for (const char* memory : {"2G", "auto"}) {
    for (const char* prefill : {"none", "cpu"}) {
      std::vector<std::string> arguments = {"run", model(), "-p",       "x",   "--raw",
                                            "-n",  "2",     "--memory", memory};
      if (prefill != std::string("none")) arguments.insert(arguments.end(), {"--prefill", prefill});
      Program program(arguments);
      program.close_input();
      EXPECT_EQ(program.status(), 0) << program.err;
      const std::string line =
          "cairn: warning: " + model() + ": its memory is fixed and --memory changes nothing";
      EXPECT_THAT(program.err, HasSubstr(line));
      EXPECT_EQ(program.err.find(line), program.err.rfind(line)) << program.err;
    }
  }
}

TEST_F(Memory, NonsenseIsRefused) {
  bench(stack(), "much", 2, "--memory much: not a number of bytes");
  bench(stack(), "0", 2, "--memory 0");
}

// One file, one memory: prefilled on a device that takes what is in memory, decoded on the CPU.
TEST_F(Memory, StacksArePrefilledOnADevice) {
  const std::string prompt(100, 'x');
  Program program({"run", stack(), "-p", prompt, "--raw", "-n", "4", "--ignore-end", "--prefill", "cpu",
                   "--chunk", "32", "--memory", "600M"});
  program.close_input();
  EXPECT_EQ(program.status(), 0) << program.err;
  EXPECT_THAT(program.err, AllOf(HasSubstr("cpu: chunks of 32"), HasSubstr("of 600.0 MiB; stack: "),
                                 Not(HasSubstr("its copy of the weights"))));
  Program other({"bench", stack(), "--prompt", "40", "--generate", "2", "--repeat", "1", "--chunk", "32",
                 "--prefill", "cpu", "--memory", "auto"});
  other.close_input();
  EXPECT_EQ(other.status(), 0) << other.err;
}

TEST_F(Memory, BitsForADeviceThatTakesOthersAreRefused) {
  const auto refused = [](const std::string& path, std::vector<std::string> more, int status,
                          const std::string& part) {
    std::vector<std::string> arguments = {"run", path, "-p", "x", "--raw"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    Program program(arguments);
    program.close_input();
    EXPECT_EQ(program.status(), status) << program.err;
    EXPECT_THAT(program.err, HasSubstr(part));
    EXPECT_EQ(std::count(program.err.begin(), program.err.end(), '\n'), 1) << program.err;
  };
  refused(stack(), {"--npu-bits", "4"}, 2, "--npu-bits is of use only with --prefill");
  refused(stack(), {"--prefill", "openvino:NPU", "--npu-bits", "9"}, 2,
          "--npu-bits: '9' is not a number (1 to 8)");
  refused(stack(), {"--prefill", "openvino:NPU", "--npu-bits", "few"}, 2,
          "--npu-bits: 'few' is not a number");
  refused(model(), {"--prefill", "openvino:NPU", "--npu-bits", "4"}, 2, "llama.gguf: is no stack");
  refused(stack(), {"--prefill", "cpu", "--npu-bits", "4"}, 2,
          "cpu takes as many bits of a stack as are in memory");
}

}  // namespace
}  // namespace cairn::cli
