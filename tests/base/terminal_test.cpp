// What a user at a terminal notices: progress bars and Ctrl-C.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "base/expect_error.hpp"
#include "base/interrupt.hpp"
#include "base/progress.hpp"

namespace cairn {
namespace {

using testing::expect_error;

void work(uint64_t done) {
  Progress progress("model.gguf", 1000, "tokens");
  progress.update(done);
  std::this_thread::sleep_for(std::chrono::milliseconds(350));
  progress.update(done + 1);
}

TEST(Progress, IsSilentWithoutATerminal) {
  ::testing::internal::CaptureStderr();
  work(10);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

// What `action` writes to stderr when that is a terminal.
template <class Action>
std::string on_terminal(const Action& action) {
  int terminal = -1, program = -1;
  if (openpty(&terminal, &program, nullptr, nullptr, nullptr) != 0) {
    ADD_FAILURE() << "openpty failed";
    return "";
  }
  std::fflush(stderr);
  const int before = dup(STDERR_FILENO);
  dup2(program, STDERR_FILENO);
  action();
  std::fflush(stderr);
  const char end = '$';
  EXPECT_EQ(::write(STDERR_FILENO, &end, 1), 1);
  dup2(before, STDERR_FILENO);
  close(before);
  std::string text;
  char byte = 0;
  while (read(terminal, &byte, 1) == 1 && byte != end) text += byte;
  close(terminal);
  close(program);
  return text;
}

TEST(Progress, TellsShareRateAndTimeLeft) {
  const std::string text = on_terminal([] { work(10); });
  EXPECT_THAT(text,
              ::testing::MatchesRegex(
                  "\rmodel.gguf  \\[[.]+\\]   1%  11 tokens  [0-9]+ tokens/s  0:[0-9]+ left.\\[K\r.\\[K"));
}

TEST(Progress, SparesWhatIsSoonDone) {
  EXPECT_EQ(on_terminal([] { work(900); }), "");
}

TEST(Interrupt, RaisesAFlagOnce) {
  EXPECT_EXIT(
      {
        catch_interrupts();
        throw_if_interrupted();
        raise(SIGINT);
        if (!interrupted()) _exit(1);
        expect_error(ErrorCode::cancelled, "interrupted", [] { throw_if_interrupted(); });
        clear_interrupt();
        throw_if_interrupted();
        raise(SIGTERM);
        _exit(interrupted() && !::testing::Test::HasFailure() ? 42 : 2);
      },
      ::testing::ExitedWithCode(42), "");
}

TEST(Interrupt, EndsAtTheSecondSignal) {
  EXPECT_EXIT(
      {
        catch_interrupts();
        raise(SIGINT);
        std::this_thread::sleep_for(std::chrono::milliseconds(150));
        raise(SIGINT);
        _exit(1);
      },
      ::testing::ExitedWithCode(130), "");
}

}  // namespace
}  // namespace cairn
