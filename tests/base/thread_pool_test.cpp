#include "base/thread_pool.hpp"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/expect_error.hpp"

namespace cairn {
namespace {

using testing::expect_error;

class ThreadPoolOf : public ::testing::TestWithParam<size_t> {};

TEST_P(ThreadPoolOf, VisitsEachIndexOnceOnAThreadOfItsOwn) {
  constexpr size_t kCount = 10'000;
  ThreadPool pool(GetParam());
  ASSERT_EQ(pool.threads(), GetParam());
  for (int round = 0; round < 20; ++round) {
    std::vector<int> visits(kCount, 0);  // plain: each index is written by one thread
    std::vector<std::atomic<int>> busy(pool.threads());
    std::atomic<int> clashes{0};
    pool.run(kCount, [&](size_t thread, size_t index) {
      if (thread >= busy.size() || busy[thread].fetch_add(1) != 0) {
        ++clashes;
        return;
      }
      ++visits[index];
      --busy[thread];
    });
    EXPECT_EQ(clashes, 0);
    EXPECT_EQ(visits, std::vector<int>(kCount, 1));
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolOf, ::testing::Values(1, 2, 3, 8));

TEST(ThreadPool, HandsWritesOverBetweenLoops) {
  ThreadPool pool(4);
  std::vector<size_t> values(1000, 1);
  for (int round = 0; round < 10; ++round) {
    pool.run(values.size(), [&](size_t, size_t i) { values[i] += i; });
  }
  for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], 1 + 10 * i);
}

TEST(ThreadPool, NumbersTheThreadsOfEachPoolApart) {
  for (int round = 0; round < 5; ++round) {
    ThreadPool first(3), second(2);
    std::atomic<bool> in_range{true};
    for (int loop = 0; loop < 5; ++loop) {
      first.run(100, [&](size_t thread, size_t) { in_range = in_range && thread < 3; });
      second.run(100, [&](size_t thread, size_t) { in_range = in_range && thread < 2; });
    }
    EXPECT_TRUE(in_range);
  }
}

TEST(ThreadPool, TakesAnEmptyLoop) {
  ThreadPool pool(2);
  bool called = false;
  pool.run(0, [&](size_t, size_t) { called = true; });
  EXPECT_FALSE(called);
}

TEST(ThreadPool, RefusesZeroAndTooMany) {
  expect_error(ErrorCode::invalid_argument, "threads: 0 is not between 1 and 1024",
               [] { ThreadPool pool(0); });
  expect_error(ErrorCode::invalid_argument, "threads: 10000 is not", [] { ThreadPool pool(10'000); });
}

TEST(UsableProcessors, FollowsTheAffinityMask) {
  const size_t before = usable_processors();
  EXPECT_GE(before, 1u);
  size_t inside = 0;
  std::thread([&] {  // the mask of this thread only
    cpu_set_t mask, one;
    ASSERT_EQ(sched_getaffinity(0, sizeof mask, &mask), 0);
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu) {
      if (CPU_ISSET(cpu, &mask)) CPU_SET(cpu, &one);
    }
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    inside = usable_processors();
  })
      .join();
  EXPECT_EQ(inside, 1u);
  EXPECT_EQ(usable_processors(), before);
}

}  // namespace
}  // namespace cairn
