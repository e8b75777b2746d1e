// Names, locks and durability of files that are not whole yet. flock and fsync of this program are ours,
// which lets another process come in between and shows what is synced.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <thread>
#include <vector>

#include "base/atomic_file.hpp"
#include "base/expect_error.hpp"
#include "base/pull/partial_file.hpp"
#include "base/temporary_folder.hpp"

namespace {

std::function<void()> before_locking;
std::atomic<int> folders_synced{0};

}  // namespace

extern "C" int flock(int descriptor, int operation) noexcept {
  if (before_locking) std::exchange(before_locking, nullptr)();
  return static_cast<int>(syscall(SYS_flock, descriptor, operation));
}

extern "C" int fsync(int descriptor) {
  struct stat status {};
  if (fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode)) ++folders_synced;
  return static_cast<int>(syscall(SYS_fsync, descriptor));
}

namespace cairn {
namespace {

using testing::expect_error;
using testing::read_file;
using testing::TemporaryFolder;
using testing::write_file;

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST(UnfinishedFile, ThreadsThatWriteTheSameFileDoNotMix) {
  const TemporaryFolder folder;
  const std::string path = folder / "file";
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (char letter = 'a'; letter < 'e'; ++letter) {
    threads.emplace_back([&, letter] {
      for (int time = 0; time < 50; ++time) {
        try {
          AtomicFile file(path);
          file.write(std::string(3 << 19, letter));
          file.commit();
        } catch (const Error&) {
          ++failures;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
  const std::string last = read_file(path);
  EXPECT_EQ(last, std::string(3 << 19, last.at(0)));
  EXPECT_EQ(folder.entries(), 1u);
}

TEST(UnfinishedFile, SyncsTheFolderAfterTheRename) {
  const TemporaryFolder folder;
  folders_synced = 0;
  AtomicFile file(folder / "file");
  file.write("text");
  EXPECT_EQ(folders_synced, 0);
  file.commit();
  EXPECT_EQ(folders_synced, 1);

  PartialFile partial(folder / "model");
  partial.append(bytes("GGUF"));
  partial.finish();
  EXPECT_EQ(folders_synced, 2);
}

TEST(UnfinishedFile, IsWrittenWhereTheFolderCannotBeListed) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "below");
  std::filesystem::permissions(folder / "below", std::filesystem::perms(0300));
  AtomicFile file(folder / "below/file");
  file.commit();
  std::filesystem::permissions(folder / "below", std::filesystem::perms(0700));
  EXPECT_TRUE(std::filesystem::exists(folder / "below/file"));
}

// Between the opening and the locking of the partial file another process finishes it.
TEST(PartialFile, LeavesAloneWhatAnotherProcessHasJustFinished) {
  const TemporaryFolder folder;
  const std::string model = folder / "model";
  write_file(partial_path(model, "pull"), "GGUF, whole");
  before_locking = [&] { std::filesystem::rename(partial_path(model, "pull"), model); };
  {
    PartialFile partial(model);
    EXPECT_EQ(partial.size(), 0u);
    partial.restart();
    partial.append(bytes("GGU"));
    EXPECT_EQ(read_file(model), "GGUF, whole");
    EXPECT_EQ(read_file(partial.path()), "GGU");
  }
}

TEST(PartialFile, IsOfOneProcessAtATime) {
  const TemporaryFolder folder;
  const PartialFile first(folder / "model");
  expect_error(ErrorCode::io, "model.pull.partial: another process is downloading it",
               [&] { PartialFile second(folder / "model"); });
}

}  // namespace
}  // namespace cairn
