#include "base/thread_pool.hpp"

#include <pthreadpool.h>
#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "base/error.hpp"

// pthreadpool comes from the system without ThreadSanitizer's instrumentation, so its hand-overs are told
// here.
#if defined(__SANITIZE_THREAD__)
#define CAIRN_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CAIRN_TSAN 1
#endif
#endif
#ifdef CAIRN_TSAN
#include <sanitizer/tsan_interface.h>
#else
static void __tsan_acquire(void*) {}
static void __tsan_release(void*) {}
#endif

namespace cairn {
namespace {

constexpr size_t kMostThreads = 1024;

// Which pool's loop this thread is in, and as which of its threads. pthreadpool 2021-05 tells a task its
// index but not its thread; a worker belongs to one pool for life, so it takes a number once and keeps it.
struct Membership {
  const ThreadPool* pool = nullptr;
  size_t thread = 0;
};
thread_local Membership membership;

struct Loop {
  const ThreadPool* pool;
  std::atomic<size_t>* workers;
  void (*function)(void*, size_t, size_t);
  void* context;
};

void run_index(void* raw, size_t index) {
  __tsan_acquire(raw);
  const Loop& loop = *static_cast<const Loop*>(raw);
  if (membership.pool != loop.pool) {
    membership = {loop.pool, 1 + loop.workers->fetch_add(1, std::memory_order_relaxed)};
  }
  loop.function(loop.context, membership.thread, index);
  __tsan_release(raw);
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Processors that `quota` microseconds in each `period` amount to; 0 when there is no limit.
size_t quota_processors(const std::string& quota, const std::string& period) {
  const auto number = [](const std::string& text) {
    double value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
  };
  const double share = number(quota), whole = number(period);
  if (!(share > 0) || !(whole > 0)) return 0;
  return std::max<size_t>(1, static_cast<size_t>(std::ceil(share / whole)));
}

// The least quota among this process's cgroup and its ancestors, as the file system shows them (inside a
// container the own group is the root of what is mounted).
size_t cgroup_processors() {
  size_t least = 0;
  const auto consider = [&least](size_t found) {
    if (found != 0 && (least == 0 || found < least)) least = found;
  };
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = fmt::format(",{},", line.substr(first + 1, second - first - 1));
    const bool version2 = controllers == ",,";
    if (!version2 && controllers.find(",cpu,") == std::string::npos) continue;
    std::string path = line.substr(second + 1);
    while (true) {
      if (path == "/") path.clear();
      if (version2) {
        std::istringstream limit(first_line("/sys/fs/cgroup" + path + "/cpu.max"));
        std::string quota, period;
        limit >> quota >> period;  // "max 100000" when there is none: not a number, hence no limit
        consider(quota_processors(quota, period));
      } else {
        for (const char* mount : {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"}) {
          const std::string folder = mount + path;
          consider(quota_processors(first_line(folder + "/cpu.cfs_quota_us"),
                                    first_line(folder + "/cpu.cfs_period_us")));
        }
      }
      if (path.empty()) break;
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
  return least;
}

}  // namespace

ThreadPool::ThreadPool(size_t threads, Idle idle) : idle_(idle) {
  if (threads == 0 || threads > kMostThreads) {
    fail(ErrorCode::invalid_argument, "threads: {} is not between 1 and {}", threads, kMostThreads);
  }
  pool_.reset(pthreadpool_create(threads));
  if (!pool_) fail(ErrorCode::out_of_memory, "threads: cannot start {} of them", threads);
}

ThreadPool::~ThreadPool() = default;

size_t ThreadPool::threads() const noexcept {
  return pthreadpool_get_threads_count(pool_.get());
}

void ThreadPool::run_raw(size_t count, Function function, void* context) {
  Loop loop{this, &workers_, function, context};
  const Membership before = membership;
  membership = {this, 0};
  __tsan_release(&loop);
  pthreadpool_parallelize_1d(pool_.get(), run_index, &loop, count,
                             idle_ == Idle::sleep ? PTHREADPOOL_FLAG_YIELD_WORKERS : 0);
  __tsan_acquire(&loop);
  membership = before;
}

void ThreadPool::Deleter::operator()(pthreadpool* pool) const noexcept {
  pthreadpool_destroy(pool);
}

size_t usable_processors() {
  size_t processors = std::max(1u, std::thread::hardware_concurrency());
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    processors = std::max(1, CPU_COUNT(&set));
  }
  const size_t quota = cgroup_processors();
  return quota == 0 ? processors : std::min(processors, quota);
}

}  // namespace cairn
