// A stack through the engine against the same weights as a plain model.
#include "backends/cpu/engine.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <random>
#include <thread>

#include "base/memory_pressure.hpp"
#include "engine/one_sequence.hpp"
#include "resident/fixture.hpp"

namespace cairn::resident {
namespace {

using engine::OneSequence;
using engine::Precision;

class StackEngine : public StackTest {
 protected:
  static std::vector<float> logits(OneSequence& runner, const std::vector<int32_t>& tokens, bool one_by_one) {
    std::vector<float> out(runner.vocabulary());
    if (one_by_one) {
      for (uint32_t i = 0; i < tokens.size(); ++i)
        runner.run({&tokens[i], 1}, i, engine::Logits::last, out.data());
    } else {
      runner.run(tokens, 0, engine::Logits::last, out.data());
    }
    return out;
  }
  static std::unique_ptr<OneSequence> runner(const std::string& path, Precision precision,
                                             uint64_t memory = 0, uint32_t threads = 1) {
    engine::Options options;
    options.context = 256;
    options.chunk = 64;
    options.threads = threads;
    options.precision = precision;
    options.memory = memory;
    return std::make_unique<OneSequence>(cpu::make_engine(gguf::File(path), options));
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
TEST_F(StackEngine, ExactRowsAreTheModelItself) {
  PlainStack options = small();
  options.exact = true;
  const std::string path = make(options, "exact.gguf");
  for (const Precision precision : {Precision::f32, Precision::standard}) {
    const auto stack = runner(path, precision), model = runner(model_path(), precision);
    for (const bool one_by_one : {true, false}) {
      const auto ours = logits(*stack, tokens(40), one_by_one),
                 theirs = logits(*model, tokens(40), one_by_one);
      EXPECT_LT(distance(ours, theirs), precision == Precision::f32 ? 1e-5 : 2e-2);
    }
  }
}

// Every family: fused q, k and v (phi2), biases, tied heads, norms of queries.
TEST_F(StackEngine, FamiliesRunFromPlanesInEveryWayOfComputing) {
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
      const auto reference = logits(*runner(path, Precision::f32), some, false);
      const auto model = logits(*runner(source, Precision::f32), some, false);
      EXPECT_LT(distance(reference, model), exact ? 1e-4 : 0.35) << family;
      EXPECT_LT(distance(logits(*runner(path, Precision::f32), some, true), reference), 1e-3) << family;
      for (const bool one_by_one : {true, false}) {
        EXPECT_LT(distance(logits(*runner(path, Precision::standard), some, one_by_one), reference), 0.1)
            << family << one_by_one;
      }
    }
  }
}

// Six uniform planes of rotated rows: small weights' errors, and the same in decode, prefill and float.
TEST_F(StackEngine, PlanesComeNearTheModelInEveryWayOfComputing) {
  for (const bool rotate : {true, false}) {
    PlainStack options = small();
    options.rotate = rotate;
    const std::string path = make(options, "planes.gguf");
    const auto model = logits(*runner(model_path(), Precision::f32), tokens(40), false);
    const auto stack = runner(path, Precision::f32);
    const auto reference = logits(*stack, tokens(40), false);
    EXPECT_LT(distance(reference, model), 0.15);
    EXPECT_LT(distance(logits(*stack, tokens(40), true), reference), 1e-4);
    const auto integer = runner(path, Precision::standard);
    EXPECT_LT(distance(logits(*integer, tokens(40), true), reference), 0.05);
    EXPECT_LT(distance(logits(*integer, tokens(40), false), reference), 0.05);
    std::vector<float> all(40 * reference.size());
    integer->run(tokens(40), 0, engine::Logits::all, all.data());
    EXPECT_LT(distance({all.end() - static_cast<ptrdiff_t>(reference.size()), all.end()}, reference), 0.05);
  }
}

TEST_F(StackEngine, BaseAloneRuns) {
  const auto stack = runner(stack_path(), Precision::standard);
  const auto full = logits(*stack, tokens(8), false);
  const engine::MemoryStatus before = stack->engine->memory();
  EXPECT_EQ(before.budget, 0u);
  EXPECT_EQ(before.stack, pages(before.stack_all));
  // A budget that leaves the base and hardly anything else.
  const uint64_t others = before.process - before.stack;
  stack->engine->set_memory(others + before.stack_all / 4 + (4 << 20));
  const auto small_one = logits(*stack, tokens(8), false);
  EXPECT_LE(stack->engine->memory().stack, before.stack);
  for (const float x : small_one) EXPECT_TRUE(std::isfinite(x));
  stack->engine->set_memory(0);
  const auto again = logits(*stack, tokens(8), false);
  EXPECT_EQ(std::memcmp(again.data(), full.data(), full.size() * sizeof(float)), 0);
}

TEST_F(StackEngine, BudgetsBelowTheLeastAreRefusedWithWhatIsNeeded) {
  cairn::testing::expect_error(ErrorCode::out_of_memory, "a budget of 1.0 MiB is too small", [] {
    logits(*runner(stack_path(), Precision::standard, 1 << 20), {1, 2, 3}, false);
  });
  const auto stack = runner(stack_path(), Precision::standard);
  const auto before = logits(*stack, tokens(8), false);
  cairn::testing::expect_error(ErrorCode::out_of_memory, "this process needs",
                               [&] { stack->engine->set_memory(1 << 20); });
  EXPECT_EQ(logits(*stack, tokens(8), false), before);  // nothing changed
  stack->engine->set_memory(uint64_t{1} << 40);         // above the file: all of it
  EXPECT_EQ(logits(*stack, tokens(8), false), before);
}

TEST_F(StackEngine, ModelsThatAreNoStacksSaySo) {
  const auto model = runner(model_path(), Precision::standard);
  EXPECT_FALSE(model->engine->elastic());
  cairn::testing::expect_error(ErrorCode::unsupported, "is fixed",
                               [&] { model->engine->set_memory(1 << 30); });
}

// The session goes on while the budget changes in the middle of passes, and memory follows it.
TEST_F(StackEngine, MemoryFollowsRandomBudgetsWhileTokensFlow) {
  PlainStack options = small();
  options.exact = true;
  const auto stack = runner(make(options, "elastic.gguf"), Precision::standard);
  logits(*stack, tokens(40), false);
  const engine::MemoryStatus full = stack->engine->memory();
  const uint64_t others = full.process - full.stack;
  std::atomic<bool> stop{false};
  std::thread mover([&] {
    std::mt19937 random(5);
    while (!stop) {
      stack->engine->set_memory(others + (8 << 20) + random() % full.stack_all);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  for (int i = 0; i < 60; ++i) {
    for (const float x : logits(*stack, tokens(i % 3 == 0 ? 40 : 1), false)) ASSERT_TRUE(std::isfinite(x));
  }
  stop = true;
  mover.join();
  stack->engine->set_memory(others + (8 << 20) + full.stack_all / 2);
  logits(*stack, tokens(1), false);
  EXPECT_LE(resident_memory(), others + (8 << 20) + full.stack_all / 2 + (4 << 20));
}

uint64_t base_of(const std::string& path) {
  const stack::Layout layout = stack::read_layout(gguf::File(path));
  return layout.end_of(layout.base_blocks) - layout.blocks_begin;
}

TEST_F(StackEngine, APageThatTheBudgetHasNoRoomForIsRefusedAndTheOthersGoOn) {
  engine::Options options{.context = 1 << 17, .threads = 1, .chunk = 64};
  const auto engine = cpu::make_engine(gguf::File(stack_path()), options);
  const auto asks = engine->make_sequence(), other = engine->make_sequence();
  const std::vector<int32_t> some = tokens(40), one = {3};
  engine->step(std::vector<engine::Slice>{{asks.get(), some}, {other.get(), some}});
  const engine::MemoryStatus m = engine->memory();
  engine->set_memory(m.process - m.stack + base_of(stack_path()) + (16 << 20));
  const uint64_t held = engine->kv_bytes();
  cairn::testing::expect_error(ErrorCode::out_of_memory, "of keys and values",
                               [&] { engine->reserve(*asks, 100'000); });
  EXPECT_EQ(engine->kv_bytes(), held);
  EXPECT_EQ(asks->length(), 40u);
  engine->step(std::vector<engine::Slice>{{other.get(), one}, {asks.get(), one}});
  EXPECT_EQ(other->length(), 41u);
  engine->set_memory(0);
  engine->reserve(*asks, 100'000);
}

// Each gets its part and keeps it, whoever computes.
TEST_F(StackEngine, TwoUnderOneBudgetDoNotTakeItFromEachOther) {
  write_model(*folder_ / "wide.gguf", 16384);
  PlainStack random = small();
  random.random = true;
  const std::string path = *folder_ / "wide_stack.gguf";
  write_plain_stack(*folder_ / "wide.gguf", path, random);
  const auto a = runner(path, Precision::standard), b = runner(path, Precision::standard);
  logits(*a, tokens(40), false);
  logits(*b, tokens(40), false);
  const engine::MemoryStatus full = b->engine->memory();
  const uint64_t base = base_of(path), wanted = base + (full.stack_all - base) / 2;
  const uint64_t budget = full.process - 2 * full.stack_all + 2 * wanted;
  a->engine->set_memory(budget);
  EXPECT_EQ(b->engine->memory().budget, budget);
  const auto both = [&] {
    logits(*a, tokens(1), false);
    logits(*b, tokens(1), false);
  };
  for (int i = 0; i < 10; ++i) both();
  const engine::MemoryStatus first = a->engine->memory(), second = b->engine->memory();
  EXPECT_NEAR(static_cast<double>(first.stack), static_cast<double>(wanted), 4 << 20);
  EXPECT_NEAR(static_cast<double>(second.stack), static_cast<double>(first.stack), 1 << 20);
  EXPECT_LE(resident_memory(), budget);
  for (int i = 0; i < 20; ++i) both();
  EXPECT_EQ(a->engine->memory().read, first.read);
  EXPECT_EQ(b->engine->memory().read, second.read);
  b->engine->set_memory(0);
  // What is read in threads of their own is there some steps later on a machine that is busy.
  for (int i = 0; i < 500 && a->engine->memory().stack <= first.stack; ++i) both();
  EXPECT_GT(a->engine->memory().stack, first.stack);
}

}  // namespace
}  // namespace cairn::resident
