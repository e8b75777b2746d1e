#pragma once

namespace cairn {

// From here on SIGINT and SIGTERM only raise a flag, for the work to see between chunks and tokens. A second
// signal ends the process at once with status 130, the terminal as it was at this call.
void catch_interrupts();

bool interrupted() noexcept;
void clear_interrupt() noexcept;  // a chat goes on after its answer was stopped

// Throws Error cancelled ("interrupted") when the flag is up.
void throw_if_interrupted();

}  // namespace cairn
