#include "base/standard_streams.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

namespace cairn {
namespace {

// Of a child's: it closes what it likes.
int status_of(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

TEST(StandardStreams, NoFileBecomesOneOfThem) {
  EXPECT_EQ(status_of([] {
              for (const int descriptor : {0, 1, 2}) close(descriptor);
              open_standard_descriptors();
              const int file = open("/dev/zero", O_RDONLY);
              char byte = 0;
              const bool at_end = read(STDIN_FILENO, &byte, 1) == 0;
              const bool refused = write(STDOUT_FILENO, &byte, 1) < 0;
              const bool taken = write(STDERR_FILENO, &byte, 1) == 1;
              return file > 2 && at_end && refused && taken ? 0 : 1;
            }),
            0);
  EXPECT_EQ(status_of([] {
              close(1);
              open_standard_descriptors();
              return fcntl(1, F_GETFD) >= 0 && open("/dev/zero", O_RDONLY) > 2 ? 0 : 1;
            }),
            0);
}

TEST(StandardStreams, NobodyNeedsToReadErrors) {
  for (const char* path : {"/dev/full", "/dev/null"}) {
    EXPECT_EQ(status_of([&] {
                dup2(open(path, O_WRONLY), STDERR_FILENO);
                tell("{} lines\n", 1);
                return 0;
              }),
              0);
  }
  EXPECT_EQ(status_of([] {
              signal(SIGPIPE, SIG_IGN);
              int ends[2] = {-1, -1};
              if (pipe(ends) != 0) return 1;
              close(ends[0]);
              dup2(ends[1], STDERR_FILENO);
              dup2(ends[1], STDOUT_FILENO);
              write_error("nobody reads this\n");
              return output_reader_left() ? 0 : 2;
            }),
            0);
  EXPECT_EQ(status_of([] {
              close(STDERR_FILENO);
              write_error("nor this\n");
              return 0;
            }),
            0);
}

}  // namespace
}  // namespace cairn
