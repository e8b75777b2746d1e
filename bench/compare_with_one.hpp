// What a step of several tokens costs against a step of one, by the thread's own clock: others who use the
// machine disturb it less than the wall's.
#pragma once

#include <benchmark/benchmark.h>

#include <cstddef>
#include <ctime>

namespace cairn::kernels {

inline double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// run(n) does the work for n tokens. Each iteration times it for `count`, and for one just before;
// `times_one` is their ratio, a thread's own, averaged over the threads.
template <class Run>
void compare_with_one(benchmark::State& state, size_t count, const Run& run) {
  const auto time = [&](size_t tokens) {
    const double start = thread_seconds();
    run(tokens);
    return thread_seconds() - start;
  };
  double seconds = 0, one_seconds = 0;
  for (auto _ : state) {
    one_seconds += time(1);
    const double elapsed = time(count);
    seconds += elapsed;
    state.SetIterationTime(elapsed);
  }
  state.counters["times_one"] = benchmark::Counter(seconds / one_seconds, benchmark::Counter::kAvgThreads);
}

}  // namespace cairn::kernels
