#include "base/memory_pressure.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string_view>

#include "base/system_pages.hpp"

namespace cairn {
namespace {

constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();
// cgroup v1 says "no limit" by a number near 2^63.
constexpr uint64_t kNoLimit = uint64_t{1} << 60;

std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

std::optional<uint64_t> read_number(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return number(word);  // "max" is none
}

// The number after `key` at the beginning of a line.
std::optional<uint64_t> read_key(const std::string& path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const size_t at = line.find_first_of("0123456789", key.size());
    return at == std::string::npos ? std::nullopt : number(std::string_view(line).substr(at));
  }
  return std::nullopt;
}

// "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234"
std::optional<uint64_t> read_stalled(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  const size_t at = line.find("total=");
  if (!line.starts_with("some") || at == std::string::npos) return std::nullopt;
  return number(std::string_view(line).substr(at + 6));
}

uint64_t left(uint64_t limit, uint64_t usage, uint64_t droppable) {
  const uint64_t used = usage - std::min(usage, droppable);
  return limit - std::min(limit, used);
}

}  // namespace

uint64_t resident_memory() {
  const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char text[128];
  const ssize_t n = pread(file, text, sizeof text - 1, 0);
  close(file);
  if (n <= 0) return 0;
  const std::string_view line(text, static_cast<size_t>(n));
  const size_t blank = line.find(' ');
  if (blank == std::string_view::npos) return 0;
  return number(line.substr(blank + 1)).value_or(0) * system_page_bytes();
}

MemoryPressure::MemoryPressure(std::string root) : root_(std::move(root)) {
  std::ifstream groups(root_ + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool version2 = controllers == ",,";
    if (!version2 && controllers.find(",memory,") == std::string::npos) continue;
    const std::string mount = root_ + (version2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory");
    // Inside a container the own group is the root of what is mounted, whatever its path says.
    std::string path = line.substr(second + 1);
    while (true) {
      if (path == "/") path.clear();
      const std::string folder = mount + path;
      std::error_code ignored;
      if (std::filesystem::exists(folder + (version2 ? "/memory.current" : "/memory.usage_in_bytes"),
                                  ignored))
        groups_.push_back({folder, version2});
      if (path.empty()) break;
      const size_t slash = path.rfind('/');
      path.resize(slash == std::string::npos ? 0 : slash);
    }
  }
}

MemoryState MemoryPressure::read() const {
  MemoryState state;
  state.available = kNone;
  const auto consider = [&state](uint64_t available, const std::string& source) {
    if (available >= state.available) return;
    state.available = available;
    state.limited_by = source;
  };
  const std::string meminfo = root_ + "/proc/meminfo";
  if (const auto kib = read_key(meminfo, "MemAvailable:")) {
    consider(*kib * 1024, "MemAvailable");
  } else if (const auto free = read_key(meminfo, "MemFree:")) {  // some containers show no more
    consider((*free + read_key(meminfo, "Cached:").value_or(0)) * 1024, "MemFree");
  }
  std::optional<uint64_t> stalled;
  for (const Group& group : groups_) {
    const std::string& f = group.folder;
    const std::string stat = f + "/memory.stat";
    if (group.version2) {
      if (!stalled) stalled = read_stalled(f + "/memory.pressure");
      const uint64_t limit = std::min(read_number(f + "/memory.max").value_or(kNone),
                                      read_number(f + "/memory.high").value_or(kNone));
      if (limit == kNone) continue;
      consider(
          left(limit, read_number(f + "/memory.current").value_or(0),
               read_key(stat, "inactive_file ").value_or(0) + read_key(stat, "active_file ").value_or(0)),
          f);
    } else {
      const uint64_t limit = read_number(f + "/memory.limit_in_bytes").value_or(kNone);
      if (limit >= kNoLimit) continue;
      consider(left(limit, read_number(f + "/memory.usage_in_bytes").value_or(0),
                    read_key(stat, "total_inactive_file ").value_or(0) +
                        read_key(stat, "total_active_file ").value_or(0)),
               f);
    }
  }
  if (!stalled) stalled = read_stalled(root_ + "/proc/pressure/memory");
  state.stalled = stalled.value_or(0);
  return state;
}

}  // namespace cairn
