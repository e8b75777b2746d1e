#pragma once

#include <cstddef>

#include "base/interrupt.hpp"
#include "base/thread_pool.hpp"

namespace cairn {

// pool.run(), cut short by an interrupt: what is not begun is left out, and Error cancelled is thrown when
// all threads are out of it.
template <class Body>
void run_interruptible(ThreadPool& pool, size_t count, const Body& body) {
  pool.run(count, [&body](size_t thread, size_t index) {
    if (!interrupted()) body(thread, index);
  });
  throw_if_interrupted();
}

}  // namespace cairn
