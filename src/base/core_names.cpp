// What ARM64's cores are called, which Linux gives as numbers.
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <istream>
#include <string>
#include <utility>
#include <vector>

#include "base/cores.hpp"

namespace cairn {
namespace {

struct Core {
  uint16_t implementer, part;  // MIDR_EL1
  const char* name;
};
constexpr auto kCores = std::to_array<Core>({
    {0x41, 0xd03, "Cortex-A53"},  {0x41, 0xd04, "Cortex-A35"},  {0x41, 0xd05, "Cortex-A55"},
    {0x41, 0xd07, "Cortex-A57"},  {0x41, 0xd08, "Cortex-A72"},  {0x41, 0xd09, "Cortex-A73"},
    {0x41, 0xd0a, "Cortex-A75"},  {0x41, 0xd0b, "Cortex-A76"},  {0x41, 0xd0c, "Neoverse-N1"},
    {0x41, 0xd0d, "Cortex-A77"},  {0x41, 0xd40, "Neoverse-V1"}, {0x41, 0xd41, "Cortex-A78"},
    {0x41, 0xd44, "Cortex-X1"},   {0x41, 0xd46, "Cortex-A510"}, {0x41, 0xd47, "Cortex-A710"},
    {0x41, 0xd48, "Cortex-X2"},   {0x41, 0xd49, "Neoverse-N2"}, {0x41, 0xd4d, "Cortex-A715"},
    {0x41, 0xd4e, "Cortex-X3"},   {0x41, 0xd4f, "Neoverse-V2"}, {0x41, 0xd80, "Cortex-A520"},
    {0x41, 0xd81, "Cortex-A720"}, {0x41, 0xd82, "Cortex-X4"},   {0x41, 0xd84, "Neoverse-V3"},
    {0x41, 0xd85, "Cortex-X925"}, {0x41, 0xd87, "Cortex-A725"}, {0x51, 0x001, "Oryon"},
});

unsigned number_after_colon(const std::string& line) {
  const size_t begin = line.find("0x");
  unsigned value = 0;
  if (begin != std::string::npos)
    std::from_chars(line.data() + begin + 2, line.data() + line.size(), value, 16);
  return value;
}

std::string name_of(unsigned implementer, unsigned part) {
  for (const Core& core : kCores) {
    if (core.implementer == implementer && core.part == part) return core.name;
  }
  return fmt::format("core 0x{:02x}:0x{:03x}", implementer, part);
}

}  // namespace

std::string core_names(std::istream& cpuinfo) {
  std::vector<std::pair<std::string, size_t>> cores;
  unsigned implementer = 0;
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.starts_with("CPU implementer")) implementer = number_after_colon(line);
    if (!line.starts_with("CPU part")) continue;
    const std::string name = name_of(implementer, number_after_colon(line));
    if (cores.empty() || cores.back().first != name) cores.emplace_back(name, 0);
    ++cores.back().second;
  }
  std::string names;
  for (const auto& [name, count] : cores)
    names.append(names.empty() ? "" : ", ").append(fmt::format("{} {}", count, name));
  return names;
}

}  // namespace cairn
