// Locks and durability of the file that a download grows. flock of this program is ours, which lets another
// process come in between.
#include "store/pull/partial_file.hpp"

#include <gtest/gtest.h>
#include <sys/file.h>

#include <filesystem>
#include <functional>

#include "base/expect_error.hpp"
#include "base/synced_folders.hpp"
#include "base/temporary_folder.hpp"
#include "base/unfinished_file.hpp"

namespace {

std::function<void()> before_locking;

}  // namespace

extern "C" int flock(int descriptor, int operation) noexcept {
  if (before_locking) std::exchange(before_locking, nullptr)();
  return static_cast<int>(syscall(SYS_flock, descriptor, operation));
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

TEST(PartialFile, SyncsTheFolderAfterTheRename) {
  const TemporaryFolder folder;
  testing::folders_synced = 0;
  PartialFile partial(folder / "model");
  partial.append(bytes("GGUF"));
  partial.finish();
  EXPECT_EQ(testing::folders_synced, 1);
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
