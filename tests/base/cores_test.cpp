#include "base/cores.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/temporary_folder.hpp"
#include "base/thread_pool.hpp"

namespace cairn {
namespace {

using ::testing::ElementsAre;

class Cores : public ::testing::Test {
 protected:
  void capacity(size_t processor, const std::string& text) {
    const std::string folder = folder_.path() + "/cpu" + std::to_string(processor);
    std::filesystem::create_directory(folder);
    std::ofstream(folder + "/cpu_capacity") << text << "\n";
  }
  std::vector<size_t> big(const std::vector<size_t>& processors) const {
    return big_processors(processors, folder_.path());
  }
  testing::TemporaryFolder folder_;
};

TEST_F(Cores, BigOnesHaveAtLeastHalfTheGreatestCapacity) {  // a Snapdragon 8 Gen 3's
  for (const size_t i : {0, 1}) capacity(i, "379");
  for (const size_t i : {2, 3, 4, 5, 6}) capacity(i, "867");
  capacity(7, "1024");
  EXPECT_THAT(big({0, 1, 2, 3, 4, 5, 6, 7}), ElementsAre(2, 3, 4, 5, 6, 7));
  EXPECT_THAT(big({0, 1}), ElementsAre(0, 1));  // what this process may use counts alone
  EXPECT_THAT(big({1, 7}), ElementsAre(7));
  EXPECT_THAT(big({}), ElementsAre());
}

TEST_F(Cores, AllAreBigWhereOneHasNoCapacity) {
  capacity(0, "379");
  EXPECT_THAT(big({0, 1}), ElementsAre(0, 1));
  capacity(1, "much");
  EXPECT_THAT(big({0, 1}), ElementsAre(0, 1));
  EXPECT_THAT(big_processors(std::vector<size_t>{3, 5}, "/nowhere"), ElementsAre(3, 5));
}

TEST_F(Cores, ThoseToUseAreAmongThoseAllowed) {
  EXPECT_GE(usable_processors(), 1U);
  EXPECT_LE(usable_processors(), allowed_processors());
}

TEST_F(Cores, AQuotaIsTheTightestOfTheGroups) {
  const auto write = [&](const std::string& path, const std::string& text) {
    const std::filesystem::path file = folder_.path() + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text << "\n";
  };
  write("/proc/self/cgroup", "0::/a/b");
  write("/sys/fs/cgroup/a/b/cpu.max", "max 100000");
  EXPECT_EQ(quota_processors(folder_.path()), 0u);
  write("/sys/fs/cgroup/a/cpu.max", "250000 100000");
  EXPECT_EQ(quota_processors(folder_.path()), 3u);
  write("/proc/self/cgroup", "3:cpu,cpuacct:/c");
  write("/sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_quota_us", "100000");
  write("/sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_period_us", "100000");
  EXPECT_EQ(quota_processors(folder_.path()), 1u);
}

// Without /sys and /proc, and as on Android: groups that have no files to read.
TEST_F(Cores, ThereIsNoQuotaWhereNothingTellsOne) {
  EXPECT_EQ(quota_processors(folder_.path()), 0u);
  std::filesystem::create_directories(folder_.path() + "/proc/self");
  std::ofstream(folder_.path() + "/proc/self/cgroup")
      << "4:cpuset:/top-app\n2:cpu:/top-app\n0::/uid_2000/pid_4711\n";
  EXPECT_EQ(quota_processors(folder_.path()), 0u);
}

TEST_F(Cores, AreNamedInTheirOrder) {
  std::istringstream pi(
      "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n\nprocessor\t: 1\nCPU implementer\t: "
      "0x41\n"
      "CPU part\t: 0xd0b\n");
  EXPECT_EQ(core_names(pi), "2 Cortex-A76");
  std::istringstream mixed(
      "CPU implementer : 0x41\nCPU part : 0xd80\nCPU implementer : 0x51\nCPU part : 0x001\nCPU part : "
      "0x777\n");
  EXPECT_EQ(core_names(mixed), "1 Cortex-A520, 1 Oryon, 1 core 0x51:0x777");
  std::istringstream none("model name : a processor\n");
  EXPECT_EQ(core_names(none), "");
}

}  // namespace
}  // namespace cairn
