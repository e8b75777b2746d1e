#include "base/thread_pool.hpp"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <thread>
#include <vector>

#include "base/expect_error.hpp"
#include "base/sanitized.hpp"

namespace cairn {
namespace {

using testing::expect_error;

// More threads than the machine has processors, as a larger machine would run them.
struct ManyProcessors {
  ManyProcessors() { pretend_processors(8); }
  ~ManyProcessors() { pretend_processors(0); }
};

class ThreadPoolOf : public ::testing::TestWithParam<size_t> {
  const ManyProcessors many_;
};

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

class ThreadPoolTest : public ::testing::Test {
  const ManyProcessors many_;
};

TEST_F(ThreadPoolTest, HandsWritesOverBetweenLoops) {
  ThreadPool pool(4);
  std::vector<size_t> values(1000, 1);
  for (int round = 0; round < 10; ++round) {
    pool.run(values.size(), [&](size_t, size_t i) { values[i] += i; });
  }
  for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], 1 + 10 * i);
}

TEST_F(ThreadPoolTest, NumbersTheThreadsOfEachPoolApart) {
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

TEST_F(ThreadPoolTest, TakesAnEmptyLoop) {
  ThreadPool pool(2);
  bool called = false;
  pool.run(0, [&](size_t, size_t) { called = true; });
  EXPECT_FALSE(called);
}

// A helper that does not come is not waited for: here all helpers are held up in another index, and the rest
// of their share is done by the caller.
TEST_F(ThreadPoolTest, OthersDoTheShareOfAThreadThatIsHeldUp) {
  constexpr size_t kThreads = 4, kCount = 400;
  ThreadPool pool(kThreads);
  std::atomic<size_t> done{0}, held{0};
  pool.run(kCount, [&](size_t thread, size_t) {
    ++done;
    if (thread == 0) return;
    // Until all but what the held-up threads are in has been done.
    ++held;
    while (done < kCount) std::this_thread::yield();
  });
  EXPECT_EQ(done, kCount);
  EXPECT_LE(held, kThreads - 1);
}

// Short loops with contexts that are gone a moment later: a helper that comes late finds the next loop or
// none.
TEST_F(ThreadPoolTest, LateHelpersTouchNoFinishedLoop) {
  for (const auto idle : {ThreadPool::Idle::spin, ThreadPool::Idle::sleep}) {
    ThreadPool pool(8, idle);
    for (size_t round = 0; round < 20'000; ++round) {
      const size_t count = round % 7;
      std::array<std::atomic<size_t>, 7> visits{};
      pool.run(count, [&visits, count, round](size_t, size_t i) { visits[i] += i < count ? round + 1 : 0; });
      for (size_t i = 0; i < visits.size(); ++i) ASSERT_EQ(visits[i], i < count ? round + 1 : 0) << round;
    }
  }
}

TEST_F(ThreadPoolTest, RunsALoopInsideOfItsOwnLoop) {
  ThreadPool pool(3);
  std::vector<std::atomic<int>> visits(50);
  std::atomic<bool> same{true};
  pool.run(5, [&](size_t outer, size_t i) {
    pool.run(10, [&](size_t inner, size_t j) {
      same = same && inner == outer;
      ++visits[10 * i + j];
    });
  });
  EXPECT_TRUE(same);
  for (const auto& n : visits) EXPECT_EQ(n, 1);
}

TEST_F(ThreadPoolTest, RunsAnotherPoolsLoopInsideOfALoop) {
  ThreadPool outer(2), inner(3);
  std::atomic<size_t> sum{0};
  outer.run(20, [&](size_t, size_t i) { inner.run(10, [&](size_t, size_t j) { sum += 10 * i + j; }); });
  EXPECT_EQ(sum, 199u * 200 / 2);
}

TEST_F(ThreadPoolTest, ServesSeveralThreadsInTurn) {
  ThreadPool pool(3);
  std::atomic<size_t> sum{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int loop = 0; loop < 200; ++loop) pool.run(9, [&](size_t, size_t i) { sum += i; });
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sum, 4u * 200 * 36);
}

TEST_F(ThreadPoolTest, WakesHelpersThatSleep) {
  ThreadPool pool(2, ThreadPool::Idle::sleep);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    // Both indices at once: neither ends before the other has begun.
    std::atomic<int> begun{0};
    pool.run(2, [&](size_t, size_t) {
      ++begun;
      while (begun < 2) std::this_thread::yield();
    });
  }
}

TEST_F(ThreadPoolTest, TellsHowManyThreadsWorked) {
  ThreadPool pool(2);
  EXPECT_EQ(pool.use().mean(), 0);
  std::atomic<int> begun{0};
  pool.run(2, [&](size_t, size_t) {
    ++begun;
    while (begun < 2) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  });
  const ThreadUse both = pool.use();
  EXPECT_GT(both.mean(), 1);
  EXPECT_LE(both.mean(), 2);
  pool.run(1, [&](size_t, size_t) { std::this_thread::sleep_for(std::chrono::milliseconds(50)); });
  EXPECT_GT(pool.use().since(both).mean(), 0.5);
  EXPECT_LE(pool.use().since(both).mean(), 1);
}

TEST_F(ThreadPoolTest, RefusesZeroAndTooMany) {
  expect_error(ErrorCode::invalid_argument, "threads: 0 is not between 1 and 1024",
               [] { ThreadPool pool(0); });
  expect_error(ErrorCode::invalid_argument, "threads: 10000 is not", [] { ThreadPool pool(10'000); });
}

TEST(ThreadPool, StartsNoMoreThanTheProcessors) {
  ThreadPool pool(1024);
  EXPECT_EQ(pool.threads(), usable_processors());
}

// A caller whose processors became fewer meanwhile works on; helpers stay where it may run.
TEST_F(ThreadPoolTest, FollowsAMaskThatShrinks) {
  ThreadPool pool(4);
  std::thread([&] {  // the mask of this thread only
    std::atomic<size_t> sum{0};
    pool.run(100, [&](size_t, size_t i) { sum += i; });
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<size_t>(sched_getcpu()), &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
    size_t loops = 1;
    for (; std::chrono::steady_clock::now() < end; ++loops)
      pool.run(100, [&](size_t, size_t i) { sum += i; });
    EXPECT_EQ(sum, loops * 4950);
  })
      .join();
}

#ifndef CAIRN_SANITIZED  // sanitizers put off signals, and reserve more address space than any limit leaves
int enter[2], leave[2];  // pipes of the signal's handler
void stand_still(int) {
  char byte = 0;
  if (write(enter[1], &byte, 1) != 1 || read(leave[0], &byte, 1) != 1) std::abort();
}

// The system gives a helper no processor: a signal's handler holds it up, wherever it is.
TEST_F(ThreadPoolTest, ALoopEndsWithoutAHelperThatDoesNotCome) {
  ASSERT_EQ(pipe(enter), 0);
  ASSERT_EQ(pipe(leave), 0);
  struct sigaction action = {}, before = {};
  action.sa_handler = stand_still;
  action.sa_flags = SA_RESTART;
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  for (const auto idle : {ThreadPool::Idle::spin, ThreadPool::Idle::sleep}) {
    ThreadPool pool(2, idle);
    pthread_t helper{};
    std::atomic<int> begun{0};
    pool.run(2, [&](size_t thread, size_t) {
      if (thread != 0) helper = pthread_self();
      ++begun;
      while (begun < 2) std::this_thread::yield();
    });
    ASSERT_EQ(pthread_kill(helper, SIGUSR1), 0);
    char byte = 0;
    ASSERT_EQ(read(enter[0], &byte, 1), 1);
    std::vector<int> visits(100, 0);
    for (int loop = 0; loop < 100; ++loop) pool.run(visits.size(), [&](size_t, size_t i) { ++visits[i]; });
    EXPECT_EQ(visits, std::vector<int>(100, 100));
    ASSERT_EQ(write(leave[1], &byte, 1), 1);
  }
  sigaction(SIGUSR1, &before, nullptr);
  for (const int end : {enter[0], enter[1], leave[0], leave[1]}) close(end);
}

[[noreturn]] void use_pools_in_little_space() {
  rlimit limit{};
  std::ifstream("/proc/self/statm") >> limit.rlim_cur;
  limit.rlim_cur = limit.rlim_cur * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + (size_t{100} << 20);
  limit.rlim_max = limit.rlim_cur;
  if (setrlimit(RLIMIT_AS, &limit) != 0) std::_Exit(2);
  ThreadPool first(1024), second(1024);
  std::vector<std::atomic<int>> visits(5000);
  for (ThreadPool* pool : {&first, &second}) pool->run(visits.size(), [&](size_t, size_t i) { ++visits[i]; });
  bool all = first.threads() < 1024;
  for (const auto& n : visits) all = all && n == 2;
  std::_Exit(all ? 0 : 1);
}

// Address space for a few stacks only, in a child: the pool becomes smaller, says so once, and works.
TEST_F(ThreadPoolTest, IsSmallerWhereTheSystemRefusesThreads) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  pretend_processors(1024);
  EXPECT_EXIT(use_pools_in_little_space(), ::testing::ExitedWithCode(0),
              "^cairn: [0-9]+ of 1024 threads could be started \\([^\n]*\n$");
}
#endif

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
