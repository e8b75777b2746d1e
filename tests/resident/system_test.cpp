// The set where the system is slow, refuses, or has larger pages. madvise, pread and sysconf of this program
// are ours.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <thread>
#include <vector>

#include "backends/cpu/engine.hpp"
#include "engine/one_sequence.hpp"
#include "resident/fixture.hpp"
#include "resident/set.hpp"

namespace {

std::function<int()> before_giving_back;  // returns 0, or the errno of a system that refuses
std::function<void()> before_reading;
long fake_page = 0;  // 0: the system's own

}  // namespace

extern "C" int madvise(void* begin, size_t bytes, int advice) noexcept {
  if (advice == MADV_DONTNEED && before_giving_back) {
    if (const int reason = before_giving_back(); reason != 0) {
      errno = reason;
      return -1;
    }
  }
  return static_cast<int>(syscall(SYS_madvise, begin, bytes, advice));
}

extern "C" ssize_t pread(int descriptor, void* to, size_t bytes, off_t offset) {
  constexpr size_t kSmall = 1024;  // numbers of the system's
  if (before_reading && bytes > kSmall) before_reading();
  return syscall(SYS_pread64, descriptor, to, bytes, offset);
}

extern "C" long __sysconf(int name);
extern "C" long sysconf(int name) noexcept {
  return name == _SC_PAGESIZE && fake_page != 0 ? fake_page : __sysconf(name);
}

namespace cairn::resident {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SystemTest : public StackTest {
 protected:
  ~SystemTest() override {
    before_giving_back = nullptr;
    before_reading = nullptr;
    fake_page = 0;
  }
};

TEST_F(SystemTest, MemoryIsCountedUntilTheSystemHasIt) {
  Set set{gguf::File(stack_path())};
  set.set_limit(UINT64_MAX);
  set.wait_until_read();
  const uint64_t all = set.resident_bytes();
  std::promise<void> begun, go_on;
  before_giving_back = [&] {
    begun.set_value();
    go_on.get_future().wait();
    return 0;
  };
  set.set_limit(0);
  begun.get_future().wait();
  EXPECT_EQ(set.resident_bytes(), all);
  auto waiting = std::async(std::launch::async, [&] { set.wait_until_released(); });
  EXPECT_EQ(waiting.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  go_on.set_value();
  waiting.wait();
  EXPECT_LT(set.resident_bytes(), all);
}

TEST_F(SystemTest, ARefusalIsToldAndWhatStaysIsCounted) {
  Set set{gguf::File(stack_path())};
  set.set_limit(UINT64_MAX);
  set.wait_until_read();
  const uint64_t all = set.resident_bytes();
  before_giving_back = [] { return EINVAL; };  // as for memory that is locked
  for (int time = 0; time < 2; ++time) {
    set.set_limit(0);
    set.wait_until_released();
    EXPECT_EQ(set.resident_bytes(), all);
    EXPECT_THAT(set.status().problems, ElementsAre(HasSubstr("does not take memory back: Invalid argument")));
    set.set_limit(UINT64_MAX);
    set.wait_until_read();
  }
  before_giving_back = nullptr;
  set.set_limit(0);
  while (set.resident_bytes() == all) std::this_thread::yield();
}

TEST_F(SystemTest, PagesAreAsLargeAsTheSystemSays) {
  fake_page = 64 << 10;
  Set set{gguf::File(stack_path())};
  for (const uint64_t limit : {UINT64_MAX, set.status().block_bytes / 2, uint64_t{0}}) {
    set.set_limit(limit);
    set.wait_until_read();
    set.wait_until_released();
    EXPECT_EQ(set.resident_bytes() % page_bytes(), 0u);
    EXPECT_GE(set.resident_bytes(), set.status().base_bytes);
  }
}

// Addresses for one more stack, not for two: the second thread cannot start.
TEST_F(SystemTest, AThreadThatCannotBeStartedIsAnError) {
  const auto refused = [] {
    constexpr size_t kStack = size_t{1} << 30;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, kStack);
    pthread_setattr_default_np(&attributes);
    uint64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const rlimit limit = {pages * page_bytes() + kStack + kStack / 2, RLIM_INFINITY};
    setrlimit(RLIMIT_AS, &limit);
    cairn::testing::expect_error(ErrorCode::out_of_memory, "stack.gguf: cannot start a thread: ", [] {
      Set{gguf::File(stack_path())};
    });
    _exit(::testing::Test::HasFailure() ? 1 : 42);
  };
  EXPECT_EXIT(refused(), ::testing::ExitedWithCode(42), "");
}

TEST_F(SystemTest, ABaseThatCannotBeReadIsAnErrorOfReading) {
  const std::string path = copy("vanishing.gguf");
  const gguf::File file(path);
  std::filesystem::resize_file(path, stack::read_layout(file).blocks_begin + 100);
  cairn::testing::expect_error(ErrorCode::io, "the file ends there now", [&] { Set set(file); });
}

// A runner whose stack is being read for its first pass, by a disk that has stopped.
class StoppedDisk : public SystemTest {
 protected:
  StoppedDisk() {
    hook_ = [this] {
      if (!stopped_.exchange(true)) reading_.set_value();
      going_.wait();
    };
  }
  ~StoppedDisk() override { go(); }
  std::unique_ptr<engine::OneSequence> runner(uint64_t memory = 0) {
    engine::Options options;
    options.context = 64;
    options.threads = 1;
    options.chunk = 16;
    options.memory = memory;
    auto made = std::make_unique<engine::OneSequence>(cpu::make_engine(gguf::File(stack_path()), options));
    before_reading = hook_;  // the base has come
    return made;
  }
  void go() {
    if (!gone_.exchange(true)) go_.set_value();
  }
  static void pass(engine::OneSequence& runner, const engine::Cancelled& cancelled = {}) {
    const std::vector<int32_t> tokens = {1, 2, 3};
    std::vector<float> logits(runner.vocabulary());
    runner.run(tokens, 0, engine::Logits::last, logits.data(), cancelled);
  }

  std::promise<void> reading_, go_;
  const std::shared_future<void> going_ = go_.get_future().share();
  std::atomic<bool> stopped_{false}, gone_{false};
  std::function<void()> hook_;
};

TEST_F(StoppedDisk, SetMemoryDoesNotWaitForTheFirstReading) {
  const auto stack = runner();
  auto first = std::async(std::launch::async, [&] { pass(*stack); });
  reading_.get_future().wait();
  auto set = std::async(std::launch::async, [&] { stack->engine->set_memory(uint64_t{1} << 40); });
  EXPECT_EQ(set.wait_for(std::chrono::seconds(20)), std::future_status::ready);
  EXPECT_EQ(first.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  go();
  set.wait();
  first.get();
  EXPECT_EQ(stack->engine->memory().budget, uint64_t{1} << 40);
}

TEST_F(StoppedDisk, ThePassThatWaitsForItCanBeCancelled) {
  const auto stack = runner();
  auto first = std::async(std::launch::async, [&] { pass(*stack, [this] { return stopped_.load(); }); });
  EXPECT_EQ(first.wait_for(std::chrono::seconds(20)), std::future_status::ready);
  go();
  cairn::testing::expect_error(ErrorCode::cancelled, "interrupted", [&] { first.get(); });
  pass(*stack);
  EXPECT_EQ(stack->engine->memory().stack, pages(stack->engine->memory().stack_all));
}

TEST_F(StoppedDisk, NoLimitChosenBeforeTheFirstPassStays) {
  go();
  const auto stack = runner(uint64_t{1} << 40);
  stack->engine->set_memory(0);
  pass(*stack);
  EXPECT_EQ(stack->engine->memory().budget, 0u);
}

// Half a block that came before the failure is no memory in use.
TEST_F(SystemTest, WhatCameOfABlockThatIsNotWholeIsGivenBack) {
  const std::string path = copy("shrinking.gguf");
  Set set{gguf::File(path)};
  const stack::Layout& layout = set.layout();
  const stack::Block& last = layout.blocks.back();
  std::filesystem::resize_file(path, last.offset + last.bytes - 1);
  set.set_limit(UINT64_MAX);
  set.wait_until_read();
  const size_t there = set.status().blocks;
  EXPECT_LT(there, layout.blocks.size());
  EXPECT_EQ(set.resident_bytes(), pages(layout.end_of(there) - layout.blocks_begin));
  set.set_limit(layout.end_of(there) - layout.blocks_begin);
  set.wait_until_released();
}

}  // namespace
}  // namespace cairn::resident
