// What is left of the memory, from files as the system writes them.
#include "base/memory_pressure.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "base/byte_size.hpp"
#include "base/error.hpp"

namespace cairn {
namespace {

class Pressure : public testing::Test {
 protected:
  Pressure()
      : root_(std::filesystem::temp_directory_path() / ("cairn-pressure-" + std::to_string(getpid()))) {
    write("proc/meminfo", "MemTotal:       16000000 kB\nMemFree:  1 kB\nMemAvailable:    8000000 kB\n");
  }
  ~Pressure() override { std::filesystem::remove_all(root_); }
  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = root_ / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  MemoryState read() const { return MemoryPressure(root_).read(); }

  std::filesystem::path root_;
};

TEST_F(Pressure, WithoutGroupsItIsWhatTheMachineHas) {
  write("proc/pressure/memory", "some avg10=1.00 avg60=0.50 avg300=0.10 total=4242\nfull avg10=0 total=1\n");
  EXPECT_EQ(read().available, uint64_t{8000000} * 1024);
  EXPECT_EQ(read().limited_by, "MemAvailable");
  EXPECT_EQ(read().stalled, 4242u);
}

TEST_F(Pressure, WithoutMemAvailableItIsWhatIsFreeOrCaches) {
  write("proc/meminfo", "MemTotal:  16000000 kB\nMemFree:  3000 kB\nSwapCached:  7 kB\nCached:  500 kB\n");
  EXPECT_EQ(read().available, uint64_t{3500} * 1024);
  EXPECT_EQ(read().limited_by, "MemFree");
}

TEST_F(Pressure, WhereNothingIsToldThereIsNoLimit) {
  std::filesystem::remove(root_ / "proc/meminfo");
  EXPECT_EQ(read().available, UINT64_MAX);
  EXPECT_EQ(read().limited_by, "");
}

TEST_F(Pressure, Version2TakesTheTightestAncestorAndItsOwnStalls) {
  write("proc/self/cgroup", "0::/a/b\n");
  write("proc/pressure/memory", "some avg10=0 avg60=0 avg300=0 total=1\n");
  write("sys/fs/cgroup/a/b/memory.current", "300000000\n");
  write("sys/fs/cgroup/a/b/memory.max", "max\n");
  write("sys/fs/cgroup/a/b/memory.high", "900000000\n");
  write("sys/fs/cgroup/a/b/memory.pressure", "some avg10=0 avg60=0 avg300=0 total=77\n");
  write("sys/fs/cgroup/a/memory.current", "500000000\n");
  write("sys/fs/cgroup/a/memory.max", "600000000\n");
  write("sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 20000000\nactive_file 30000000\n");
  const MemoryState state = read();
  EXPECT_EQ(state.available, 600000000u - 500000000 + 50000000);
  EXPECT_TRUE(state.limited_by.ends_with("/sys/fs/cgroup/a")) << state.limited_by;
  EXPECT_EQ(state.stalled, 77u);
}

TEST_F(Pressure, Version1ReadsTheMemoryControllerAndKnowsNoLimit) {
  write("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/box\n0::/\n");
  write("sys/fs/cgroup/memory/box/memory.usage_in_bytes", "100000000\n");
  write("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "150000000\n");
  write("sys/fs/cgroup/memory/box/memory.stat",
        "inactive_file 5\ntotal_inactive_file 40000000\ntotal_active_file 0\n");
  EXPECT_EQ(read().available, 90000000u);
  write("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(read().limited_by, "MemAvailable");
}

// Groups whose files are not there or cannot be read, and no pressure told: what the whole phone has left
// counts.
TEST_F(Pressure, OnAndroidItIsWhatThePhoneHas) {
  write("proc/self/cgroup", "4:memory:/apps\n3:cpuset:/top-app\n0::/uid_2000/pid_4711\n");
  std::filesystem::create_directories(
      root_ / "sys/fs/cgroup/uid_2000/pid_4711/memory.current");  // opens, is not read
  EXPECT_EQ(read().available, uint64_t{8000000} * 1024);
  EXPECT_EQ(read().limited_by, "MemAvailable");
  EXPECT_EQ(read().stalled, 0u);
}

TEST_F(Pressure, AContainersOwnGroupIsTheMountsRoot) {
  write("proc/self/cgroup", "0::/not/visible/here\n");
  write("sys/fs/cgroup/memory.current", "1000\n");
  write("sys/fs/cgroup/memory.max", "5000\n");
  EXPECT_EQ(read().available, 4000u);
}

TEST_F(Pressure, UsageBeyondTheLimitLeavesNothing) {
  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/memory.current", "6000\n");
  write("sys/fs/cgroup/memory.max", "5000\n");
  EXPECT_EQ(read().available, 0u);
}

TEST(ResidentMemory, FollowsWhatIsTouched) {
  const uint64_t before = resident_memory();
  std::vector<char> block(32 << 20, 1);
  for (size_t i = 0; i < block.size(); i += 4096) static_cast<volatile char*>(block.data())[i] = 2;
  EXPECT_GE(resident_memory(), before + (24 << 20));
  EXPECT_EQ(block[4096], 2);
}

TEST(ByteSize, NumbersWithUnits) {
  EXPECT_EQ(parse_bytes("700000", "--x"), 700000u);
  EXPECT_EQ(parse_bytes("400M", "--x"), 400u << 20);
  EXPECT_EQ(parse_bytes("1.5G", "--x"), 1536u << 20);
  EXPECT_EQ(parse_bytes("64 KiB", "--x"), 65536u);
  EXPECT_EQ(parse_bytes("2mb", "--x"), 2u << 20);
  for (const char* bad : {"", "M", "-5M", "4X", "1e300", "nan", "5MM", "5 M B"}) {
    try {
      parse_bytes(bad, "--memory");
      ADD_FAILURE() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_TRUE(std::string_view(error.what()).starts_with("--memory ")) << error.what();
    }
  }
}

}  // namespace
}  // namespace cairn
