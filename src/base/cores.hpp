#pragma once

#include <cstddef>
#include <iosfwd>
#include <span>
#include <string>
#include <vector>

namespace cairn {

// Processors that this process may use, big and little ones, as usable_processors() counts them: what a pool
// that was asked for more threads is cut to.
size_t allowed_processors();

// Of `processors` the big ones: of at least half the greatest cpu_capacity that `folder` (Linux's
// /sys/devices/system/cpu) gives any of them, in their order. All of them where one has none, as on most
// machines whose cores are alike.
std::vector<size_t> big_processors(std::span<const size_t> processors, const std::string& folder);

// Processors that the least quota amounts to among this process's cgroup and its ancestors, as the files
// under `root` tell
// ("": the system's; /proc and /sys in it). 0 where there is no limit, or nothing that tells one, as on
// Android.
size_t quota_processors(const std::string& root);

// "4 big cores of 8" where this machine's differ, else empty.
std::string describe_cores();

// "4 Cortex-A55, 4 Cortex-A76" from an ARM64 /proc/cpuinfo; empty where no line tells a core.
std::string core_names(std::istream& cpuinfo);

}  // namespace cairn
