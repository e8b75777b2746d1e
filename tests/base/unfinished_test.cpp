// Names and durability of files that are not whole yet.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <thread>
#include <vector>

#include "base/atomic_file.hpp"
#include "base/error.hpp"
#include "base/synced_folders.hpp"
#include "base/temporary_folder.hpp"

namespace cairn {
namespace {

using testing::folders_synced;
using testing::read_file;
using testing::TemporaryFolder;

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

}  // namespace
}  // namespace cairn
