// Mapped files that are cut while they are read.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <thread>
#include <vector>

#include "base/expect_error.hpp"
#include "base/mapped_file.hpp"
#include "base/sanitized.hpp"
#include "base/temporary_folder.hpp"

namespace cairn {
namespace {

using testing::expect_error;
using testing::TemporaryFolder;
using testing::write_file;

constexpr size_t kBytes = 8 << 20;

int sum(const MappedFile& file) {
  int total = 0;
  for (const std::byte b : file.bytes()) total += std::to_integer<int>(b);
  return total;
}

class LostPagesTest : public ::testing::Test {
 protected:
  LostPagesTest() { write_file(path_, std::string(kBytes, '\1')); }
  void cut(uintmax_t bytes = 100) const { std::filesystem::resize_file(path_, bytes); }
  const TemporaryFolder folder_;
  const std::string path_ = folder_ / "model.gguf";
};

TEST_F(LostPagesTest, ReadAsZerosWhereThatIsToleratedAndAreAnErrorAfterwards) {
  const MappedFile file(path_), other(path_);
  file.tolerate_losses(true);
  EXPECT_EQ(sum(file), static_cast<int>(kBytes));
  file.require_read();
  cut();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&] { EXPECT_EQ(sum(file), 100); });
  for (std::thread& thread : threads) thread.join();
  file.tolerate_losses(false);
  expect_error(ErrorCode::io, "model.gguf: was cut to 100 bytes while in use", [&] { file.require_read(); });
  // Whole again: what was mapped in place of the lost pages is not its content.
  write_file(path_, std::string(kBytes, '\1'));
  expect_error(ErrorCode::io, "model.gguf: some of it could not be read", [&] { file.require_read(); });
  other.require_read();
  EXPECT_EQ(sum(other), static_cast<int>(kBytes));
}

TEST_F(LostPagesTest, ACutThatNobodyHasReadIsToldWhenAsked) {
  const MappedFile file(path_);
  cut();
  file.require_read();
  expect_error(ErrorCode::io, "was cut to 100 bytes", [&] { file.require_whole(); });
}

TEST_F(LostPagesTest, ManyMappingsComeAndGo) {
  std::vector<MappedFile> files;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 20; ++i) files.emplace_back(path_);
    const MappedFile moved = std::move(files[7]);
    files.erase(files.begin(), files.begin() + 10);
  }
  files.front().tolerate_losses(true);
  cut();
  EXPECT_EQ(sum(files.front()), 100);
  expect_error(ErrorCode::io, "was cut", [&] { files.front().require_read(); });
  files.back().require_read();
}

#ifndef CAIRN_SANITIZED  // which have handlers of their own
TEST_F(LostPagesTest, EndTheProgramWithALineElsewhere) {
  const MappedFile file(path_);
  cut();
  EXPECT_EXIT(_exit(sum(file) == 100 ? 2 : 3), ::testing::ExitedWithCode(1),
              "^cairn: .*model.gguf: was cut while in use");
}

// A failure that is none of ours ends the program as ever.
TEST_F(LostPagesTest, OthersFailuresAreTheirOwn) {
  const MappedFile file(path_);
  file.tolerate_losses(true);
  const TemporaryFolder folder;
  write_file(folder / "other", std::string(kBytes, '\1'));
  const int descriptor = open((folder / "other").c_str(), O_RDONLY | O_CLOEXEC);
  const auto* bytes =
      static_cast<const volatile char*>(mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, descriptor, 0));
  close(descriptor);
  std::filesystem::resize_file(folder / "other", 0);
  EXPECT_EXIT(static_cast<void>(bytes[0]), ::testing::KilledBySignal(SIGBUS), "");
}
#endif

}  // namespace
}  // namespace cairn
