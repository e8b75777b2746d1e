// Short parallel loops, as decode has them, on cairn's pool and on others that were found when this was built
// (pthreadpool, oneTBB), beside other programs.
//
//   bench_pool [THREADS] [ROUNDS]
//
// Prints work done a second against one thread on an idle machine: the machine idle, one and two other
// programs that compute, and two of the same at once (the slower of them). Medians of interleaved rounds;
// each measurement is a process of its own. Run it on an idle machine.
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/thread_pool.hpp"
#include "measure/median.hpp"
#ifdef CAIRN_BENCH_PTHREADPOOL
#include <pthreadpool.h>
#endif
#ifdef CAIRN_BENCH_TBB
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#endif

namespace {

using Body = std::function<void(size_t index)>;
using Loop = std::function<void(size_t count, const Body& body)>;

struct Shape {
  const char* name;
  size_t tasks;
  double task_us, between_us;  // between two loops the caller is busy with something of its own
};
constexpr Shape kShapes[] = {{"decode, 12 tasks of 8 us", 12, 8, 5},
                             {"prefill, 60 tasks of 100 us", 60, 100, 20}};
constexpr double kSeconds = 0.7;

uint64_t spin(double steps) {
  uint64_t x = 1;
  for (auto left = static_cast<uint64_t>(steps); left > 0; --left) x = x * 6364136223846793005u + left;
  return x;
}

volatile uint64_t sink;

double steps_a_microsecond() {
  double best = 0;
  for (int i = 0; i < 5; ++i) {
    const cairn::Stopwatch watch;
    sink = spin(1e7);
    best = std::max(best, 10 / watch.seconds());
  }
  return best;
}

std::map<std::string, std::function<Loop(size_t)>> pools() {
  std::map<std::string, std::function<Loop(size_t)>> all;
  all["one thread"] = [](size_t) {
    return [](size_t count, const Body& body) {
      for (size_t i = 0; i < count; ++i) body(i);
    };
  };
  all["cairn"] = [](size_t threads) {
    auto pool = std::make_shared<cairn::ThreadPool>(threads);
    return [pool](size_t count, const Body& body) { pool->run(count, [&](size_t, size_t i) { body(i); }); };
  };
#ifdef CAIRN_BENCH_PTHREADPOOL
  all["pthreadpool"] = [](size_t threads) {
    const std::shared_ptr<pthreadpool> pool(pthreadpool_create(threads), pthreadpool_destroy);
    return [pool](size_t count, const Body& body) {
      pthreadpool_parallelize_1d(
          pool.get(), [](void* context, size_t i) { (*static_cast<const Body*>(context))(i); },
          const_cast<Body*>(&body), count, 0);
    };
  };
#endif
#ifdef CAIRN_BENCH_TBB
  all["oneTBB"] = [](size_t threads) {
    auto arena = std::make_shared<tbb::task_arena>(static_cast<int>(threads));
    return [arena](size_t count, const Body& body) {
      arena->execute([&] { tbb::parallel_for(size_t{0}, count, body, tbb::simple_partitioner()); });
    };
  };
#endif
  return all;
}

// Runs in a process of its own; the result comes back through a pipe.
struct Measurement {
  pid_t child;
  int out;
  double result() const {
    double value = 0;
    if (read(out, &value, sizeof value) != sizeof value) value = 0;
    close(out);
    waitpid(child, nullptr, 0);
    return value;
  }
};

template <class Work>
Measurement start(const Work& work) {
  int ends[2];
  if (pipe(ends) != 0) std::exit(1);
  const pid_t child = fork();
  if (child == 0) {
    const double value = work();
    const ssize_t written = write(ends[1], &value, sizeof value);
    _exit(written == sizeof value ? 0 : 1);
  }
  close(ends[1]);
  return {child, ends[0]};
}

}  // namespace

int main(int argc, char** argv) {
  const size_t threads = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : cairn::usable_processors();
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 5;
  const double steps = steps_a_microsecond();
  for (const Shape& shape : kShapes) {
    const auto measure = [&](const std::function<Loop(size_t)>& make) {
      return start([&] {
        const Loop loop = make(threads);
        const cairn::Stopwatch watch;
        size_t loops = 0;
        for (; watch.seconds() < kSeconds; ++loops) {
          loop(shape.tasks, [&](size_t) { sink = spin(steps * shape.task_us); });
          sink = spin(steps * shape.between_us);
        }
        const double each = static_cast<double>(shape.tasks) * shape.task_us + shape.between_us;
        return static_cast<double>(loops) * each * 1e-6 / watch.seconds();
      });
    };
    std::map<std::string, std::array<std::vector<double>, 4>> results;
    for (int round = 0; round < rounds; ++round) {
      for (const auto& [name, make] : pools()) {
        auto& [idle, one, two, twice] = results[name];
        idle.push_back(measure(make).result());
        std::vector<pid_t> others;
        for (auto* to : {&one, &two}) {
          others.push_back(fork());
          if (others.back() == 0) {
            while (true) sink = spin(1e6);
          }
          usleep(100'000);
          to->push_back(measure(make).result());
        }
        for (const pid_t other : others) {
          kill(other, SIGKILL);
          waitpid(other, nullptr, 0);
        }
        const Measurement first = measure(make), second = measure(make);
        const double a = first.result(), b = second.result();
        twice.push_back(std::min(a, b));
      }
    }
    fmt::print("{}; {} threads\n{:12} {:>6} {:>8} {:>8} {:>8}\n", shape.name, threads, "", "idle", "1 other",
               "2 others", "twice");
    for (const auto& [name, all] : results)
      fmt::print("{:12} {:6.2f} {:8.2f} {:8.2f} {:8.2f}\n", name, cairn::measure::median(all[0]),
                 cairn::measure::median(all[1]), cairn::measure::median(all[2]),
                 cairn::measure::median(all[3]));
  }
}
