#include "base/machine.hpp"

#include <link.h>
#include <unistd.h>

#include <fstream>

#include "base/cores.hpp"

namespace cairn {

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    const size_t begin = line.find_first_not_of(" \t", line.find(':') + 1);
    if (begin != std::string::npos) return line.substr(begin);
  }
  std::ifstream cores("/proc/cpuinfo");
  const std::string names = core_names(cores);  // ARM64 has no model's name
  return names.empty() ? "unknown processor" : names;
}

uint64_t memory_bytes() {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(page) : 0;
}

bool opens_libraries() {
  const auto program = [](dl_phdr_info* info, size_t, void*) {
    for (size_t i = 0; i < info->dlpi_phnum; ++i) {
      if (info->dlpi_phdr[i].p_type == PT_INTERP) return 1;
    }
    return -1;  // what follows the program are libraries
  };
  return dl_iterate_phdr(program, nullptr) == 1;
}

}  // namespace cairn
