#include "base/output_path.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/atomic_file.hpp"
#include "base/expect_error.hpp"
#include "base/temporary_folder.hpp"

namespace cairn {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using testing::read_file;
using testing::TemporaryFolder;
using testing::write_file;

class OutputPath : public ::testing::Test {
 protected:
  OutputPath() {
    write_file(input_, "x");
    fs::create_directory(folder_ / "sub");
    fs::create_symlink(input_, folder_ / "link");
    fs::create_hard_link(input_, folder_ / "hard");
    fs::create_directory_symlink(folder_.path(), folder_ / "sub/up");
  }
  const TemporaryFolder folder_;
  const std::string input_ = folder_ / "input";
};

TEST_F(OutputPath, IsNoInputHoweverItIsSpelt) {
  const std::vector<std::string> inputs = {"", "-", folder_ / "nowhere", input_};
  for (const std::string spelling :
       {"input", "./input", "sub/../input", "link", "hard", "sub/up/input", "//input"})
    expect_error(ErrorCode::invalid_argument, "is an input",
                 [&] { check_output(folder_ / spelling, inputs); });
  check_output(folder_ / "new", inputs);
  write_file(folder_ / "same content", "x");
  check_output(folder_ / "same content", inputs);
}

TEST_F(OutputPath, IsNoOtherOutputEvenBeforeEitherIsThere) {
  const std::vector<std::string> others = {folder_ / "a"};
  for (const std::string spelling : {"a", "sub/../a", "sub/up/a"})
    expect_error(ErrorCode::invalid_argument, "two outputs",
                 [&] { check_output(folder_ / spelling, {}, others); });
  check_output(folder_ / "b", {}, others);
}

TEST_F(OutputPath, CanBeWritten) {
  expect_error(ErrorCode::io, "No such file", [&] { check_output(folder_ / "none/a", {}); });
  expect_error(ErrorCode::io, "Not a directory", [&] { check_output(input_ + "/a", {}); });
  fs::create_symlink(folder_ / "none/a", folder_ / "dangling");
  check_output(folder_ / "dangling", {});  // becomes a file
}

TEST_F(OutputPath, MayBeSpecialOrNone) {
  const std::string pipe = folder_ / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  for (const std::string& path : {std::string(), std::string("-"), std::string("/dev/null"),
                                  std::string("/dev/stdout"), std::string("/dev/fd/1"), pipe}) {
    check_output(path, {&path, 1});
    EXPECT_FALSE(would_replace(path)) << path;
  }
  EXPECT_TRUE(would_replace(input_));
  EXPECT_TRUE(would_replace(folder_ / "link"));
  EXPECT_FALSE(would_replace(folder_ / "none"));
  EXPECT_EQ(named_descriptor("/dev/fd/12"), 12);
  EXPECT_EQ(named_descriptor("/dev/fd/12x"), -1);
  EXPECT_EQ(named_descriptor("/dev/fd/"), -1);
}

TEST_F(OutputPath, DescriptorsAreWrittenAsTheyAre) {
  write_file(folder_ / "log", "before ");
  FILE* log = std::fopen((folder_ / "log").c_str(), "a");
  AtomicFile file("/dev/fd/" + std::to_string(fileno(log)));
  file.write("after");
  file.commit();
  std::fclose(log);
  EXPECT_EQ(read_file(folder_ / "log"), "before after");
}

}  // namespace
}  // namespace cairn
