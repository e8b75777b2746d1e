#include "store/pull/subprocess.hpp"

#include <gtest/gtest.h>
#include <signal.h>

#include <array>
#include <string>

#include "base/expect_error.hpp"
#include "base/temporary_folder.hpp"

namespace cairn {
namespace {

Finished run(const testing::TemporaryFolder& folder, const std::string& script) {
  const std::array<std::string, 3> arguments = {"sh", "-c", script};
  return run_program(arguments, {}, folder / "log", [] {});
}

TEST(Subprocess, TellsHowAProgramEnded) {
  const testing::TemporaryFolder folder;
  EXPECT_EQ(run(folder, "exit 3").status, 3);
  EXPECT_EQ(run(folder, "kill -TERM $$").status, 128 + SIGTERM);
  const std::array<std::string, 1> none = {"cairn-no-such-program"};
  EXPECT_FALSE(run_program(none, {}, folder / "log", [] {}).started);
}

// Where SIGCHLD is ignored, as some starters leave it, nobody learns a program's status: that is no success.
TEST(Subprocess, AStatusThatIsLostIsAnError) {
  const testing::TemporaryFolder folder;
  const auto before = signal(SIGCHLD, SIG_IGN);
  testing::expect_error(ErrorCode::io, "cannot tell how sh ended: No child processes",
                        [&] { run(folder, "exit 3"); });
  signal(SIGCHLD, before);
}

}  // namespace
}  // namespace cairn
