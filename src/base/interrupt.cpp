#include "base/interrupt.hpp"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <map>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.hpp"

namespace cairn {
namespace {

using Clock = std::chrono::steady_clock;

// Two seconds, less what it takes a busy system to take a process of gigabytes and dozens of threads apart.
constexpr auto kGrace = std::chrono::milliseconds(1100), kTurn = std::chrono::milliseconds(20);
// timeout(1) and some supervisors send one signal to the process and again to its group: that is one wish.
constexpr int64_t kSameWish = 100'000'000;  // nanoseconds
constexpr int kStatus = 130;

std::atomic<int64_t> raised_at{0};  // on the monotonic clock, nanoseconds; 0: not raised
static_assert(std::atomic<int64_t>::is_always_lock_free, "a signal handler writes it");

termios terminal;
bool have_terminal = false;
sem_t raised;

struct Actions {
  std::mutex mutex;
  std::map<const BeforeForcedEnd*, std::function<void()>> all;
};
// Never destroyed: the watch goes on while the program's other objects are.
Actions& actions() {
  static auto* const those = new Actions;
  return *those;
}

[[noreturn]] void end_now() {
  if (have_terminal) tcsetattr(STDIN_FILENO, TCSANOW, &terminal);
  _exit(kStatus);
}

// Calls only what POSIX allows in a handler.
void on_signal(int) {
  const int old_errno = errno;
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t at = int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  int64_t first = 0;
  if (raised_at.compare_exchange_strong(first, at)) {
    sem_post(&raised);
  } else if (at - first > kSameWish) {
    end_now();
  }
  errno = old_errno;
}

void watch() {
  while (true) {
    while (sem_wait(&raised) != 0) continue;
    const auto end = Clock::now() + kGrace;
    while (interrupted() && Clock::now() < end) std::this_thread::sleep_for(kTurn);
    if (!interrupted()) continue;
    {
      const std::lock_guard lock(actions().mutex);
      for (const auto& [of, action] : actions().all) action();
    }
    constexpr std::string_view kLine = "cairn: interrupted\n";
    [[maybe_unused]] const ssize_t told = write(STDERR_FILENO, kLine.data(), kLine.size());
    end_now();
  }
}

// Signals are for the threads whose waiting they end.
void start_watch() {
  sem_init(&raised, 0, 0);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    std::thread(watch).detach();
  } catch (const std::system_error&) {
    // Where no thread can be had, a signal is answered where the work looks for it, and the second one ends
    // it.
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace

void catch_interrupts() {
  static std::once_flag once;
  std::call_once(once, start_watch);
  have_terminal = tcgetattr(STDIN_FILENO, &terminal) == 0;
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  // No SA_RESTART: a read that waits for the user returns, and its caller sees the flag.
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() noexcept {
  return raised_at.load(std::memory_order_relaxed) != 0;
}

void clear_interrupt() noexcept {
  raised_at.store(0);
}

void throw_if_interrupted() {
  if (interrupted()) fail(ErrorCode::cancelled, "interrupted");
}

BeforeForcedEnd::BeforeForcedEnd(std::function<void()> action) {
  const std::lock_guard lock(actions().mutex);
  actions().all.emplace(this, std::move(action));
}

BeforeForcedEnd::~BeforeForcedEnd() {
  const std::lock_guard lock(actions().mutex);
  actions().all.erase(this);
}

}  // namespace cairn
