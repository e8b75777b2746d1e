#include "base/interrupt.hpp"

#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>

#include "base/error.hpp"

namespace cairn {
namespace {

std::atomic<bool> flag{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler writes it");

termios terminal;
bool have_terminal = false;

// Calls only what POSIX allows in a handler.
void on_signal(int) {
  if (!flag.exchange(true)) return;
  if (have_terminal) tcsetattr(STDIN_FILENO, TCSANOW, &terminal);
  _exit(130);
}

}  // namespace

void catch_interrupts() {
  have_terminal = tcgetattr(STDIN_FILENO, &terminal) == 0;
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  // No SA_RESTART: a read that waits for the user returns, and its caller sees the flag.
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() noexcept {
  return flag.load(std::memory_order_relaxed);
}

void clear_interrupt() noexcept {
  flag.store(false);
}

void throw_if_interrupted() {
  if (interrupted()) fail(ErrorCode::cancelled, "interrupted");
}

}  // namespace cairn
