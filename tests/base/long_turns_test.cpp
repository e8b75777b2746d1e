#include "base/long_turns.hpp"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <thread>

namespace {

// sched_runtime of sched_getattr(2), of this thread: ordinary threads' time slice where Linux tells it (6.12
// and newer), else 0.
uint64_t slice() {
  alignas(8) unsigned char attributes[48] = {};
  EXPECT_EQ(syscall(SYS_sched_getattr, 0, attributes, sizeof attributes, 0), 0);
  uint64_t runtime = 0;
  std::memcpy(&runtime, attributes + 24, sizeof runtime);
  return runtime;
}

TEST(LongTurns, AreTheCallingThreadsAlone) {
  const uint64_t before = slice();
  uint64_t there = 0;
  std::thread([&] {
    cairn::take_long_turns();
    there = slice();
  }).join();
  EXPECT_EQ(slice(), before);
  // Longer than what any machine's threads have without asking, so that these are let in.
  EXPECT_EQ(there, before == 0 ? 0u : 20'000'000u);
  EXPECT_LT(before, 20'000'000u);
}

}  // namespace
