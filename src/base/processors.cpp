// How many processors this process may use.
#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/cores.hpp"
#include "base/thread_pool.hpp"

namespace cairn {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Processors that `quota` microseconds in each `period` amount to; 0 when there is no limit.
size_t processors_of(const std::string& quota, const std::string& period) {
  const auto number = [](const std::string& text) {
    double value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
  };
  const double share = number(quota), whole = number(period);
  if (!(share > 0) || !(whole > 0)) return 0;
  return std::max<size_t>(1, static_cast<size_t>(std::ceil(share / whole)));
}

std::atomic<size_t> pretended{0};

constexpr const char* kProcessors = "/sys/devices/system/cpu";

// The processors of this process's affinity mask.
std::vector<size_t> affinity() {
  std::vector<size_t> processors;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (size_t i = 0; i < CPU_SETSIZE; ++i) {
      if (CPU_ISSET(i, &set)) processors.push_back(i);
    }
  } else {
    for (size_t i = 0; i < std::thread::hardware_concurrency(); ++i) processors.push_back(i);
  }
  return processors;
}

size_t within_quota(size_t processors) {
  const size_t quota = quota_processors("");
  return quota == 0 ? processors : std::min(processors, quota);
}

}  // namespace

void pretend_processors(size_t count) {
  pretended = count;
}

// Inside a container the own group is the root of what is mounted.
size_t quota_processors(const std::string& root) {
  size_t least = 0;
  const auto consider = [&least](size_t found) {
    if (found != 0 && (least == 0 || found < least)) least = found;
  };
  std::ifstream groups(root + "/proc/self/cgroup");
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
        std::istringstream limit(first_line(root + "/sys/fs/cgroup" + path + "/cpu.max"));
        std::string quota, period;
        limit >> quota >> period;  // "max 100000" when there is none: not a number, hence no limit
        consider(processors_of(quota, period));
      } else {
        for (const char* mount : {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"}) {
          const std::string folder = root + mount + path;
          consider(processors_of(first_line(folder + "/cpu.cfs_quota_us"),
                                 first_line(folder + "/cpu.cfs_period_us")));
        }
      }
      if (path.empty()) break;
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
  return least;
}

std::vector<size_t> big_processors(std::span<const size_t> processors, const std::string& folder) {
  std::vector<size_t> capacities;
  for (const size_t processor : processors) {
    const std::string text = first_line(fmt::format("{}/cpu{}/cpu_capacity", folder, processor));
    size_t capacity = 0;
    std::from_chars(text.data(), text.data() + text.size(), capacity);
    if (capacity == 0) return {processors.begin(), processors.end()};
    capacities.push_back(capacity);
  }
  std::vector<size_t> big;
  for (size_t i = 0; i < processors.size(); ++i) {
    if (2 * capacities[i] >= *std::ranges::max_element(capacities)) big.push_back(processors[i]);
  }
  return big;
}

size_t allowed_processors() {
  if (const size_t count = pretended) return count;
  return within_quota(std::max<size_t>(1, affinity().size()));
}

// A core of half the speed makes the others wait at the end of every loop (docs/arm64.md).
size_t usable_processors() {
#if defined(__aarch64__)
  if (const size_t count = pretended) return count;
  return within_quota(std::max<size_t>(1, big_processors(affinity(), kProcessors).size()));
#else
  return allowed_processors();
#endif
}

std::string describe_cores() {
  const std::vector<size_t> all = affinity();
  const size_t big = big_processors(all, kProcessors).size();
  return big == all.size() ? "" : fmt::format("{} big cores of {}", big, all.size());
}

}  // namespace cairn
