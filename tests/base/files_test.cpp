#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/atomic_file.hpp"
#include "base/expect_error.hpp"
#include "base/sha256.hpp"
#include "base/temporary_folder.hpp"

namespace cairn {
namespace {

using testing::expect_error;
using testing::read_file;
using testing::TemporaryFolder;
using testing::write_file;

TEST(AtomicFile, AppearsWholeAtCommit) {
  const TemporaryFolder folder;
  const std::string path = folder / "file", content(3 << 20, 'x');
  write_file(path, "old");
  {
    AtomicFile file(path);
    file.write(content);
    EXPECT_EQ(read_file(path), "old");
    file.commit();
  }
  EXPECT_EQ(read_file(path), content);
  EXPECT_EQ(folder.entries(), 1u);
}

TEST(AtomicFile, LeavesNothingWithoutCommit) {
  const TemporaryFolder folder;
  {
    AtomicFile file(folder / "file");
    file.write(std::string(3 << 20, 'x'));
    EXPECT_EQ(folder.entries(), 1u);
  }
  EXPECT_EQ(folder.entries(), 0u);
}

TEST(AtomicFile, WritesThroughALink) {
  const TemporaryFolder folder;
  write_file(folder / "real", "old");
  std::filesystem::create_symlink("real", folder / "link");
  AtomicFile file(folder / "link");
  file.write("new");
  file.commit();
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_EQ(read_file(folder / "real"), "new");
}

TEST(AtomicFile, NamesAnUnwritablePlace) {
  const TemporaryFolder folder;
  write_file(folder / "file", "");
  expect_error(ErrorCode::io, "file/below: Not a directory", [&] { AtomicFile file(folder / "file/below"); });
  expect_error(ErrorCode::io, "none/file: No such file", [&] { AtomicFile file(folder / "none/file"); });
  expect_error(ErrorCode::io, "Is a directory", [&] { AtomicFile file(folder.path()); });
}

TEST(AtomicFile, ReportsAFullDevice) {
  AtomicFile file("/dev/full");
  file.write("text");
  expect_error(ErrorCode::io, "cannot write /dev/full: No space left on device", [&] { file.commit(); });
  struct stat status = {};
  ASSERT_EQ(stat("/dev/full", &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));  // not replaced by a file
}

// A file that may not grow stands for a disk that fills up midway.
TEST(AtomicFile, RemovesWhatDidNotFit) {
  const TemporaryFolder folder;
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {1 << 20, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  expect_error(ErrorCode::io, "file: File too large", [&] {
    AtomicFile file(folder / "file");
    file.write(std::string(4 << 20, 'x'));
    file.commit();
  });
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, old_handler);
  EXPECT_EQ(folder.entries(), 0u);
}

// FIPS 180-2, appendix B.
TEST(Sha256, EqualsThePublishedVectors) {
  const auto of = [](std::string_view text) {
    Sha256 digest;
    digest.update(std::as_bytes(std::span(text)));
    return digest.hex();
  };
  EXPECT_EQ(of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  const TemporaryFolder folder;
  write_file(folder / "million", std::string(1'000'000, 'a'));
  EXPECT_EQ(sha256_of_file(folder / "million"),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

}  // namespace
}  // namespace cairn
