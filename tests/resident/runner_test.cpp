// A stack through the runner against the same weights as a plain model.
#include "device/runner.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <random>
#include <thread>

#include "base/memory_pressure.hpp"
#include "resident/fixture.hpp"

namespace cairn::resident {
namespace {

class StackRunner : public StackTest {
 protected:
  static std::vector<float> logits(device::Runner& runner, const std::vector<int32_t>& tokens,
                                   bool one_by_one) {
    std::vector<float> out(runner.model().parameters.vocabulary);
    if (one_by_one) {
      for (uint32_t i = 0; i < tokens.size(); ++i)
        runner.forward({&tokens[i], 1}, i, device::Logits::last, out.data());
    } else {
      runner.forward(tokens, 0, device::Logits::last, out.data());
    }
    return out;
  }
  static std::unique_ptr<device::Runner> runner(const std::string& path, device::Precision precision,
                                                uint64_t memory = 0, uint32_t threads = 1) {
    device::RunnerOptions options;
    options.context = 256;
    options.chunk = 64;
    options.threads = threads;
    options.precision = precision;
    options.memory = memory;
    return device::make_cpu_runner(gguf::File(path), options);
  }
  static double distance(const std::vector<float>& a, const std::vector<float>& b) {
    double error = 0, power = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      error += std::pow(a[i] - b[i], 2);
      power += std::pow(b[i], 2);
    }
    return std::sqrt(error / power);
  }
  static std::vector<int32_t> tokens(size_t n) {
    std::vector<int32_t> result(n);
    for (size_t i = 0; i < n; ++i) result[i] = static_cast<int32_t>((i * 37 + 11) % 300);
    return result;
  }
};

// With exact rows everywhere the stack is the model, to the last bit of what the float products do.
TEST_F(StackRunner, ExactRowsAreTheModelItself) {
  PlainStack options = small();
  options.exact = true;
  const std::string path = make(options, "exact.gguf");
  for (const device::Precision precision : {device::Precision::f32, device::Precision::standard}) {
    const auto stack = runner(path, precision), model = runner(model_path(), precision);
    for (const bool one_by_one : {true, false}) {
      const auto ours = logits(*stack, tokens(40), one_by_one),
                 theirs = logits(*model, tokens(40), one_by_one);
      EXPECT_LT(distance(ours, theirs), precision == device::Precision::f32 ? 1e-5 : 2e-2);
    }
  }
}

// Every family: fused q, k and v (phi2), biases, tied heads, norms of queries.
TEST_F(StackRunner, FamiliesRunFromPlanesInEveryWayOfComputing) {
  for (const char* family : {"llama", "qwen2", "gemma", "gemma3", "phi2", "phi2_split"}) {
    const std::string source = std::string(CAIRN_TEST_DATA) + "/golden_models/" + family + ".gguf";
    PlainStack options;
    options.rows_per_group = 16;
    for (const bool exact : {true, false}) {
      options.exact = exact;
      const std::string path = *folder_ / (std::string(family) + ".gguf");
      write_plain_stack(source, path, options);
      std::vector<int32_t> some(20);
      for (size_t i = 0; i < some.size(); ++i) some[i] = static_cast<int32_t>(3 + i * 5 % 40);
      const auto reference = logits(*runner(path, device::Precision::f32), some, false);
      const auto model = logits(*runner(source, device::Precision::f32), some, false);
      EXPECT_LT(distance(reference, model), exact ? 1e-4 : 0.35) << family;
      EXPECT_LT(distance(logits(*runner(path, device::Precision::f32), some, true), reference), 1e-3)
          << family;
      for (const bool one_by_one : {true, false}) {
        EXPECT_LT(distance(logits(*runner(path, device::Precision::standard), some, one_by_one), reference),
                  0.1)
            << family << one_by_one;
      }
    }
  }
}

// Six uniform planes of rotated rows: small weights' errors, and the same in decode, prefill and float.
TEST_F(StackRunner, PlanesComeNearTheModelInEveryWayOfComputing) {
  for (const bool rotate : {true, false}) {
    PlainStack options = small();
    options.rotate = rotate;
    const std::string path = make(options, "planes.gguf");
    const auto model = logits(*runner(model_path(), device::Precision::f32), tokens(40), false);
    const auto stack = runner(path, device::Precision::f32);
    const auto reference = logits(*stack, tokens(40), false);
    EXPECT_LT(distance(reference, model), 0.15);
    EXPECT_LT(distance(logits(*stack, tokens(40), true), reference), 1e-4);
    const auto integer = runner(path, device::Precision::standard);
    EXPECT_LT(distance(logits(*integer, tokens(40), true), reference), 0.05);
    EXPECT_LT(distance(logits(*integer, tokens(40), false), reference), 0.05);
    std::vector<float> all(40 * reference.size());
    integer->forward(tokens(40), 0, device::Logits::all, all.data());
    EXPECT_LT(distance({all.end() - static_cast<ptrdiff_t>(reference.size()), all.end()}, reference), 0.05);
  }
}

TEST_F(StackRunner, BaseAloneRuns) {
  const auto stack = runner(stack_path(), device::Precision::standard);
  const auto full = logits(*stack, tokens(8), false);
  const device::MemoryStatus before = stack->memory();
  EXPECT_EQ(before.budget, 0u);
  EXPECT_EQ(before.stack, pages(before.stack_all));
  // A budget that leaves the base and hardly anything else.
  const uint64_t others = before.process - before.stack;
  stack->set_memory(others + before.stack_all / 4 + (4 << 20));
  const auto small_one = logits(*stack, tokens(8), false);
  EXPECT_LE(stack->memory().stack, before.stack);
  for (const float x : small_one) EXPECT_TRUE(std::isfinite(x));
  stack->set_memory(0);
  const auto again = logits(*stack, tokens(8), false);
  EXPECT_EQ(std::memcmp(again.data(), full.data(), full.size() * sizeof(float)), 0);
}

TEST_F(StackRunner, BudgetsBelowTheLeastAreRefusedWithWhatIsNeeded) {
  cairn::testing::expect_error(ErrorCode::invalid_argument, "a budget of 1.0 MiB is too small", [] {
    logits(*runner(stack_path(), device::Precision::standard, 1 << 20), {1, 2, 3}, false);
  });
  const auto stack = runner(stack_path(), device::Precision::standard);
  const auto before = logits(*stack, tokens(8), false);
  cairn::testing::expect_error(ErrorCode::invalid_argument, "this process needs",
                               [&] { stack->set_memory(1 << 20); });
  EXPECT_EQ(logits(*stack, tokens(8), false), before);  // nothing changed
  stack->set_memory(uint64_t{1} << 40);                 // above the file: all of it
  EXPECT_EQ(logits(*stack, tokens(8), false), before);
}

TEST_F(StackRunner, ModelsThatAreNoStacksSaySo) {
  const auto model = runner(model_path(), device::Precision::standard);
  EXPECT_FALSE(model->elastic());
  cairn::testing::expect_error(ErrorCode::unsupported, "is fixed", [&] { model->set_memory(1 << 30); });
}

// The session goes on while the budget changes in the middle of passes, and memory follows it.
TEST_F(StackRunner, MemoryFollowsRandomBudgetsWhileTokensFlow) {
  PlainStack options = small();
  options.exact = true;
  const auto stack = runner(make(options, "elastic.gguf"), device::Precision::standard);
  logits(*stack, tokens(40), false);
  const device::MemoryStatus full = stack->memory();
  const uint64_t others = full.process - full.stack;
  std::atomic<bool> stop{false};
  std::thread mover([&] {
    std::mt19937 random(5);
    while (!stop) {
      stack->set_memory(others + (8 << 20) + random() % full.stack_all);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  for (int i = 0; i < 60; ++i) {
    for (const float x : logits(*stack, tokens(i % 3 == 0 ? 40 : 1), false)) ASSERT_TRUE(std::isfinite(x));
  }
  stop = true;
  mover.join();
  stack->set_memory(others + (8 << 20) + full.stack_all / 2);
  logits(*stack, tokens(1), false);
  EXPECT_LE(resident_memory(), others + (8 << 20) + full.stack_all / 2 + (4 << 20));
}

}  // namespace
}  // namespace cairn::resident
