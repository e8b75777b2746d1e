#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cairn {

// This process's resident memory, from /proc/self/statm; 0 where there is none.
uint64_t resident_memory();

// What the system says about memory.
struct MemoryState {
  // Bytes that this process could take without anybody being killed or paged out; UINT64_MAX where nothing is
  // told.
  uint64_t available = 0;
  uint64_t stalled = 0;    // microseconds that tasks have waited for memory since the start (PSI "some")
  std::string limited_by;  // what `available` comes from: "MemAvailable", "MemFree" or a cgroup's folder
};

// Reads how much memory is left: the least of /proc/meminfo's MemAvailable (where it has none, of what is
// free or caches files) and of what this process's cgroups, v2 or v1, and their ancestors allow (limit less
// usage, caches of files that can be dropped added), and pressure stall information, of the cgroup where it
// has its own.
class MemoryPressure {
 public:
  // root: where proc and sys are, for tests; "" is the system's.
  explicit MemoryPressure(std::string root = "");
  MemoryState read() const;

 private:
  struct Group {
    std::string folder;
    bool version2;
  };
  std::string root_;
  std::vector<Group> groups_;  // with a memory controller, innermost first
};

}  // namespace cairn
