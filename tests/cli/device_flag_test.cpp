// --device and --gpu-memory through the program, on the fake GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "resident/plain_stack.hpp"
#include "session_program.hpp"

namespace cairn::cli {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class DeviceFlag : public testing::Test {
 protected:
  DeviceFlag() { setenv("CAIRN_LIB", CAIRN_FAKE_CUDA_FOLDER, 1); }
  ~DeviceFlag() override {
    for (const char* name :
         {"CAIRN_LIB", "CAIRN_FAKE_CUDA", "CAIRN_FAKE_CUDA_MEMORY", "CAIRN_FAKE_CUDA_VANISH"})
      unsetenv(name);
  }
  static std::string golden(const char* name) {
    return std::string(CAIRN_TEST_DATA) + "/golden_models/" + name + ".gguf";
  }
  struct Result {
    int status;
    std::string out, err;
  };
  static Result run(std::vector<std::string> arguments) {
    Program program(std::move(arguments));
    program.close_input();
    const int status = program.status();
    return {status, program.out, program.err};
  }
  static Result answer(const std::string& model, const std::vector<std::string>& flags) {
    std::vector<std::string> arguments = {
        "run", model, "-p", "x", "--raw", "-n", "6", "--ignore-end", "--temperature", "0", "--no-stats"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return run(std::move(arguments));
  }
};

TEST_F(DeviceFlag, EveryCommandThatRunsAModelTakesIt) {
  const std::string model = golden("llama"), text = std::string(CAIRN_TEST_DATA) + "/mixes.json";
  for (const std::string device : {"cpu", "cuda", "cuda:1", "auto"}) {
    const Result found = answer(model, {"--device", device});
    EXPECT_EQ(found.status, 0) << found.err;
    EXPECT_THAT(found.err, IsEmpty());
    const Result bench =
        run({"bench", model, "--prompt", "8", "--generate", "2", "--repeat", "1", "--device", device});
    EXPECT_EQ(bench.status, 0) << bench.err;
  }
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"eval", model, "--perplexity", text, "--context", "32", "--limit", "1"},
        {"run", model, "-p", "x"},
        {"chat", model, "--chat-template", text},
        {"serve", model},
        {"embed", model, "x"},
        {"bench", model}}) {
    std::vector<std::string> arguments = command;
    arguments.insert(arguments.end(), {"--device", "cuda:5"});
    EXPECT_THAT(run(arguments).err, HasSubstr("there is no GPU cuda:5: the last is cuda:1")) << command[0];
    arguments.back() = "tpu";
    const Result found = run(arguments);
    EXPECT_EQ(found.status, 2);
    EXPECT_THAT(found.err, HasSubstr("device 'tpu': cpu, auto, cuda or cuda:N")) << command[0];
  }
}

TEST_F(DeviceFlag, WithoutAGpuTheCpuComputesAndNothingIsSaid) {
  const Result expected = answer(golden("llama"), {"--device", "cpu"});
  for (const char* why : {"no-driver", "old-driver", "none"}) {
    setenv("CAIRN_FAKE_CUDA", why, 1);
    const Result found = answer(golden("llama"), {});
    EXPECT_EQ(found.status, 0);
    EXPECT_EQ(found.out, expected.out);
    EXPECT_THAT(found.err, IsEmpty());
  }
  const Result named = answer(golden("llama"), {"--device", "cuda"});
  EXPECT_EQ(named.status, 1);
  EXPECT_THAT(named.err, HasSubstr("there is no NVIDIA GPU"));
}

TEST_F(DeviceFlag, WhatAGpuCannotTakeIsToldOnce) {
  const Result mixture =
      run({"bench", golden("qwen3moe"), "--prompt", "8", "--generate", "2", "--repeat", "1"});
  EXPECT_EQ(mixture.status, 0);
  const std::string line = "warning: " + golden("qwen3moe") + ": cairn has no CUDA kernel for the op 'route'";
  EXPECT_THAT(mixture.err, HasSubstr(line));
  EXPECT_EQ(mixture.err.find("warning"), mixture.err.rfind("warning")) << mixture.err;
  setenv("CAIRN_FAKE_CUDA_VANISH", "3", 1);
  const Result gone = answer(golden("llama"), {"--device", "cuda"});
  EXPECT_EQ(gone.status, 0);
  EXPECT_EQ(gone.out, answer(golden("llama"), {"--device", "cpu"}).out);
  EXPECT_THAT(gone.err, HasSubstr("the fake GPU is gone; the CPU goes on"));
  EXPECT_EQ(gone.err.find("warning"), gone.err.rfind("warning")) << gone.err;
}

TEST_F(DeviceFlag, WhatRulesAGpuOutIsNamed) {
  const std::string model = golden("llama");
  for (const auto& [flags, part] :
       {std::pair{std::vector<std::string>{"--precision", "f32"}, "--precision f32"},
        {{"--kv", "q4"}, "f16 alone"},
        {{"--keep-prefix"}, "--keep-prefix keeps what the CPU has read"},
        {{"--prefill", "cpu"}, "--device cuda for a GPU: choose one"},
        {{"--gpu-memory", "0"}, "--gpu-memory 0"},
        {{"--gpu-memory", "some"}, "--gpu-memory some: not a number of bytes"},
        {{"--gpu-memory", "1K"}, "more than --gpu-memory allows"}}) {
    std::vector<std::string> arguments = flags;
    arguments.insert(arguments.end(), {"--device", "cuda"});
    const Result found = answer(model, arguments);
    EXPECT_NE(found.status, 0) << part;
    EXPECT_THAT(found.err, HasSubstr(part));
  }
  // Who has not asked for a GPU gets the CPU.
  for (const std::vector<std::string>& flags :
       std::vector<std::vector<std::string>>{{"--precision", "f32"}, {"--kv", "q4"}, {"--keep-prefix"}})
    EXPECT_EQ(answer(model, flags).status, 0);
}

TEST_F(DeviceFlag, AStackTellsTheGpusMemory) {
  const std::string stack =
      std::filesystem::temp_directory_path() / ("cairn-device-" + std::to_string(getpid()) + ".gguf");
  resident::write_plain_stack(golden("llama"), stack, {.rows_per_group = 16});
  const Result found = run({"run", stack, "-p", "x", "--raw", "-n", "3", "--ignore-end", "--device", "cuda",
                            "--gpu-memory", "64M"});
  std::filesystem::remove(stack);
  EXPECT_EQ(found.status, 0) << found.err;
  EXPECT_THAT(found.err, HasSubstr("GPU memory "));
  EXPECT_THAT(found.err, HasSubstr(" of 64.0 MiB; stack: "));
  EXPECT_THAT(found.err, Not(HasSubstr("the device's copy")));
}

TEST_F(DeviceFlag, DevicesListsGpusOrWhyThereAreNone) {
  EXPECT_THAT(run({"devices"}).out,
              HasSubstr("cuda:1  Fake 1, 1.0 of 1.0 GiB of memory free, 4 multiprocessors, "
                        "capability 9.0, driver for CUDA 13.0\n"));
  const auto json = nlohmann::json::parse(run({"devices", "--json"}).out);
  ASSERT_EQ(json["devices"].size(), 3U);
  EXPECT_EQ(json["devices"][1]["name"], "cuda:0");
  EXPECT_EQ(json["devices"][1]["memory_mib"], 1024);
  setenv("CAIRN_FAKE_CUDA", "no-driver", 1);
  EXPECT_THAT(run({"devices"}).out, HasSubstr("cuda  not found: no NVIDIA driver is installed\n"));
  EXPECT_EQ(nlohmann::json::parse(run({"devices", "--json"}).out)["no_gpu"], "no NVIDIA driver is installed");
}

}  // namespace
}  // namespace cairn::cli
