#pragma once

#include <functional>

namespace cairn {

// From here on SIGINT and SIGTERM only raise a flag, for the work to see between chunks and tokens. Work that
// has not ended two seconds later is ended without being asked, and a second signal ends the process at once,
// both with status 130, the terminal as it was at this call.
void catch_interrupts();

bool interrupted() noexcept;
void clear_interrupt() noexcept;  // a chat goes on after its answer was stopped

// Throws Error cancelled ("interrupted") when the flag is up.
void throw_if_interrupted();

// What is to be done before work is ended without being asked: short, and while everything else goes on.
// Called by a thread of its own. Undone by the destructor.
class BeforeForcedEnd {
 public:
  explicit BeforeForcedEnd(std::function<void()> action);
  ~BeforeForcedEnd();
  BeforeForcedEnd(const BeforeForcedEnd&) = delete;
  BeforeForcedEnd& operator=(const BeforeForcedEnd&) = delete;
};

}  // namespace cairn
