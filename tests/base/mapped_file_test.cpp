#include "base/mapped_file.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>

#include "base/expect_error.hpp"
#include "base/temporary_folder.hpp"

namespace cairn {
namespace {

using testing::expect_error;
using testing::TemporaryFolder;
using testing::write_file;

// Longer than two huge pages, not whole ones, and different everywhere.
std::string numbers() {
  std::string all((5 << 20) + 123, '\0');
  for (size_t i = 0; i + 4 <= all.size(); i += 4) {
    const auto value = static_cast<uint32_t>(i * 2654435761u);
    std::memcpy(all.data() + i, &value, 4);
  }
  return all;
}

bool equal(const MappedFile& file, const std::string& content) {
  return file.bytes().size() == content.size() &&
         std::memcmp(file.bytes().data(), content.data(), content.size()) == 0;
}

TEST(MappedFile, OwnsItsBytesWhereTheyWereMapped) {
  const TemporaryFolder folder;
  const std::string path = folder / "file", content = numbers();
  write_file(path, content);
  const MappedFile file(path);
  const std::byte* const before = file.bytes().data();
  ThreadPool pool(2);
  file.own(pool);
  EXPECT_EQ(file.bytes().data(), before);
  EXPECT_TRUE(equal(file, content));
  std::filesystem::resize_file(path, 10);  // reaches nobody
  file.own(pool);
  EXPECT_TRUE(equal(file, content));
  EXPECT_NO_THROW(file.require_whole());
  EXPECT_NO_THROW(file.require_read());
}

TEST(MappedFile, IsReadWhileItIsOwned) {
  const TemporaryFolder folder;
  const std::string path = folder / "file", content = numbers();
  write_file(path, content);
  for (int turn = 0; turn < 5; ++turn) {
    const MappedFile file(path);
    std::atomic<bool> over = false;
    std::atomic<int> wrong = 0, reads = 0;
    std::thread reader([&] {
      while (!over || reads == 0) {
        wrong += equal(file, content) ? 0 : 1;
        ++reads;
      }
    });
    ThreadPool pool(2);
    file.own(pool);
    over = true;
    reader.join();
    EXPECT_EQ(wrong, 0);
  }
}

TEST(MappedFile, StaysMappedWhereItCannotBeOwned) {
  const TemporaryFolder folder;
  const std::string path = folder / "file", content = numbers();
  write_file(path, content);
  const MappedFile file(path);
  std::filesystem::resize_file(path, 3 << 20);
  ThreadPool pool(2);
  expect_error(ErrorCode::io, path + ": ends at byte 3145728", [&] { file.own(pool); });
  expect_error(ErrorCode::io, path + ": was cut", [&] { file.require_whole(); });
  write_file(path, content);
  EXPECT_TRUE(equal(file, content));
}

TEST(MappedFile, MovesWithWhatItOwns) {
  const TemporaryFolder folder;
  const std::string path = folder / "file", content = numbers();
  write_file(path, content);
  MappedFile file(path);
  ThreadPool pool(1);
  file.own(pool);
  const MappedFile other = std::move(file);
  std::filesystem::resize_file(path, 10);
  EXPECT_TRUE(equal(other, content));
  EXPECT_NO_THROW(other.require_whole());
}

}  // namespace
}  // namespace cairn
