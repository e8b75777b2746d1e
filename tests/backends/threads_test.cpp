// However many threads work, and while their number changes, the logits are the same to the bit.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "backends/cpu/engine.hpp"
#include "base/thread_pool.hpp"
#include "engine/one_sequence.hpp"
#include "graph/golden_models.hpp"

namespace cairn::cpu {
namespace {

// A long prompt in passes of several lengths, then token by token.
std::vector<float> logits(const gguf::File& file, uint32_t threads) {
  engine::OneSequence runner(make_engine(file, {.context = 128, .threads = threads, .chunk = 64}));
  const size_t vocabulary = runner.vocabulary();
  std::vector<int32_t> tokens(120);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(3 + i * i * 7 % 120);
  std::vector<float> all(tokens.size() * vocabulary);
  for (size_t at = 0; at < tokens.size();) {
    const size_t count = at < 64 ? 64 : at < 96 ? 16 : at < 112 ? 4 : 1;
    runner.run({tokens.data() + at, count}, static_cast<uint32_t>(at), engine::Logits::all,
               all.data() + at * vocabulary);
    at += count;
  }
  const ThreadUse use = runner.engine->thread_use();
  EXPECT_GT(use.loop_seconds, 0);
  EXPECT_LE(use.mean(), threads);
  return all;
}

class Threads : public testing::TestWithParam<const char*> {
 protected:
  Threads() { pretend_processors(8); }
  ~Threads() override { pretend_processors(0); }

  const gguf::File file_{graph::golden_model_path(GetParam())};
};

TEST_P(Threads, TheirNumberChangesNoLogit) {
  const std::vector<float> one = logits(file_, 1);
  for (const uint32_t threads : {2, 3, 8}) EXPECT_EQ(logits(file_, threads), one) << threads;
}

// As when another program comes and goes: the thread's processors become one and all again.
TEST_P(Threads, MayChangeInTheMiddle) {
  const std::vector<float> one = logits(file_, 1);
  cpu_set_t all;
  CPU_ZERO(&all);
  ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  std::atomic<bool> stop{false};
  const pthread_t caller = pthread_self();
  std::thread disturber([&] {
    for (bool single = true; !stop; single = !single) {
      cpu_set_t first;
      CPU_ZERO(&first);
      for (size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&first) == 0; ++cpu) {
        if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &first);
      }
      pthread_setaffinity_np(caller, sizeof all, single ? &first : &all);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  for (int round = 0; round < 10; ++round) EXPECT_EQ(logits(file_, 4), one) << round;
  stop = true;
  disturber.join();
  pthread_setaffinity_np(caller, sizeof all, &all);
}

INSTANTIATE_TEST_SUITE_P(Models, Threads, testing::Values("llama", "gemma3", "phi2"),
                         [](const auto& model) { return std::string(model.param); });

}  // namespace
}  // namespace cairn::cpu
