#include "base/interrupt.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <thread>

#include "base/atomic_file.hpp"
#include "base/error.hpp"
#include "base/interruptible.hpp"
#include "base/temporary_folder.hpp"

namespace cairn {
namespace {

using std::chrono::milliseconds;

int status_of(const std::function<void()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    catch_interrupts();
    body();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

// As a library's function would that knows nothing of interrupts.
void work_without_end() {
  while (true) std::this_thread::sleep_for(milliseconds(10));
}

TEST(Interrupt, WorkThatDoesNotLookIsEndedAndTidiedUp) {
  const testing::TemporaryFolder folder;
  EXPECT_EQ(status_of([&] {
              AtomicFile file(folder / "file");
              file.write("half of it");
              raise(SIGTERM);
              work_without_end();
            }),
            130);
  EXPECT_EQ(folder.entries(), 0u);
}

TEST(Interrupt, WorkThatGoesOnIsNot) {
  EXPECT_EQ(status_of([] {
              raise(SIGINT);
              std::this_thread::sleep_for(milliseconds(100));
              clear_interrupt();
              std::this_thread::sleep_for(milliseconds(2500));
            }),
            0);
}

TEST(Interrupt, TheSecondEndsAtOnce) {
  EXPECT_EQ(status_of([] {
              raise(SIGINT);
              std::this_thread::sleep_for(milliseconds(150));
              raise(SIGTERM);
            }),
            130);
}

TEST(Interrupt, OneSentTwiceIsOne) {
  EXPECT_EQ(status_of([] {
              raise(SIGINT);
              raise(SIGINT);
              if (!interrupted()) _exit(1);
              clear_interrupt();
            }),
            0);
}

TEST(Interrupt, EndsLoops) {
  EXPECT_EQ(status_of([] {
              ThreadPool pool(2, ThreadPool::Idle::sleep);
              std::atomic<int> done{0};
              run_interruptible(pool, 10, [&](size_t, size_t) { ++done; });
              if (done != 10) _exit(1);
              try {
                run_interruptible(pool, 1000, [&](size_t, size_t index) {
                  if (index == 10) raise(SIGTERM);
                  std::this_thread::sleep_for(milliseconds(1));
                  ++done;
                });
                _exit(2);
              } catch (const Error& error) {
                if (error.code() != ErrorCode::cancelled || done >= 1010) _exit(3);
              }
            }),
            0);
}

}  // namespace
}  // namespace cairn
