// --memory auto's decisions, on numbers.
#include "resident/governor.hpp"

#include <gtest/gtest.h>

namespace cairn::resident {
namespace {

constexpr uint64_t kMiB = 1 << 20;

MemoryState left(uint64_t mebibytes, uint64_t stalled = 0) {
  return {mebibytes * kMiB, stalled, "test"};
}

TEST(MemoryPolicy, BeginsWithAllButAReserve) {
  Policy policy;
  EXPECT_EQ(policy.next(left(400), 100 * kMiB, 0), (100 + 400 - 25) * kMiB);
}

TEST(MemoryPolicy, FallsAtOnceByWhatIsMissing) {
  Policy policy;
  policy.next(left(100), 100 * kMiB, 0);
  EXPECT_EQ(policy.next(left(10), 170 * kMiB, 0.025), (170 - 14) * kMiB);  // the reserve is 24 MiB
  EXPECT_EQ(policy.next(left(24), 156 * kMiB, 0.05), 156 * kMiB);
}

TEST(MemoryPolicy, AFallUnderWayIsNotAskedForTwice) {
  Policy policy;
  policy.next(left(100), 100 * kMiB, 0);
  const uint64_t first = policy.next(left(10), 170 * kMiB, 0.025);
  EXPECT_EQ(policy.next(left(10), 170 * kMiB, 0.05), first);
}

TEST(MemoryPolicy, RisesOnlyAfterSecondsOfCalmAndByHalf) {
  Policy policy;
  policy.next(left(30), 100 * kMiB, 0);
  const uint64_t low = policy.next(left(10), 100 * kMiB, 0.1);
  EXPECT_EQ(policy.next(left(80), 90 * kMiB, 1), low);
  EXPECT_EQ(policy.next(left(80), 90 * kMiB, 2), low);
  EXPECT_EQ(policy.next(left(80), 90 * kMiB, 3.2), (90 + (80 - 24) / 2) * kMiB);
  EXPECT_EQ(policy.next(left(60), 118 * kMiB, 3.3), 118 * kMiB);  // and then waits again
}

TEST(MemoryPolicy, ALittleRoomChangesNothing) {
  Policy policy;
  policy.next(left(30), 100 * kMiB, 0);
  const uint64_t budget = policy.next(left(24), 106 * kMiB, 0.1);
  for (int i = 1; i < 100; ++i) EXPECT_EQ(policy.next(left(30 + i % 15), 100 * kMiB, 0.1 * i), budget);
}

TEST(MemoryPolicy, TasksThatWaitForMemoryMakeItGiveWay) {
  Policy policy;
  policy.next(left(400, 1000), 200 * kMiB, 0);
  const uint64_t before = policy.budget();
  EXPECT_EQ(policy.next(left(400, 1000 + 900), 200 * kMiB, 0.025), before);  // 3.6 % of the time
  EXPECT_LT(policy.next(left(400, 1900 + 20'000), 200 * kMiB, 0.05), 200 * kMiB);
}

// A system that tells nothing: as if there were no limit, and no sum goes around.
TEST(MemoryPolicy, WithoutNumbersThereIsNoLimit) {
  Policy policy;
  EXPECT_EQ(policy.next({UINT64_MAX, 0, ""}, 100 * kMiB, 0), UINT64_MAX);
  for (int i = 1; i < 10; ++i) EXPECT_EQ(policy.next({UINT64_MAX, 0, ""}, 100 * kMiB, i), UINT64_MAX);
  EXPECT_EQ(policy.next(left(10), 170 * kMiB, 11), (170 - 14) * kMiB);
}

TEST(MemoryPolicy, HugeNumbersDoNotGoAround) {
  Policy policy;
  EXPECT_GT(policy.next({UINT64_MAX - 1, 0, ""}, 100 * kMiB, 0), UINT64_MAX / 2);
  for (int i = 1; i < 10; ++i)
    EXPECT_GT(policy.next({UINT64_MAX - 1, 0, ""}, 100 * kMiB, i), UINT64_MAX / 2) << i;
}

TEST(MemoryPolicy, NeverAsksForNothing) {
  Policy policy;
  EXPECT_GE(policy.next(left(0), 0, 0), 1u);
  EXPECT_GE(policy.next(left(0), 0, 1), 1u);
}

}  // namespace
}  // namespace cairn::resident
