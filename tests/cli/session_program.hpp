#pragma once

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace cairn::cli {

// The program as a child of the test: on pipes, or on a terminal of its own.
class Program {
 public:
  enum class Input { pipe, terminal };
  enum class Errors { pipe, terminal };  // terminal: among the output

  explicit Program(std::vector<std::string> arguments, Input input = Input::pipe,
                   Errors errors = Errors::pipe, const char* program = CAIRN_PROGRAM) {
    std::vector<char*> argv{const_cast<char*>(program)};
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    int in_ends[2] = {-1, -1}, out_ends[2] = {-1, -1}, err_ends[2] = {-1, -1};
    if (input == Input::pipe && (pipe2(in_ends, O_CLOEXEC) != 0 || pipe2(out_ends, O_CLOEXEC) != 0))
      throw_errno();
    if (pipe2(err_ends, O_CLOEXEC) != 0) throw_errno();
    child_ = input == Input::pipe ? fork() : forkpty(&out_ends[0], nullptr, nullptr, nullptr);
    if (child_ < 0) throw_errno();
    if (child_ == 0) {
      if (input == Input::pipe) {
        dup2(in_ends[0], STDIN_FILENO);
        dup2(out_ends[1], STDOUT_FILENO);
      }
      if (errors == Errors::pipe) dup2(err_ends[1], STDERR_FILENO);
      setenv("CAIRN_CONFIG", "", 0);  // not that of whoever runs the tests
      execv(argv[0], argv.data());
      _exit(127);
    }
    for (const int unused : {in_ends[0], out_ends[1], err_ends[1]}) {
      if (unused >= 0) close(unused);
    }
    out_ = out_ends[0];
    err_ = err_ends[0];
    in_ = input == Input::pipe ? in_ends[1] : out_;
  }

  ~Program() {
    if (child_ > 0) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
    close_input();
    if (out_ >= 0) close(out_);
    close(err_);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void write(const std::string& text) {
    if (::write(in_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) throw_errno();
  }
  void close_input() {
    if (in_ >= 0 && in_ != out_) close(in_);
    in_ = -1;
  }
  // Nobody reads any more.
  void close_output() {
    close(out_);
    out_ = -1;
    out_done_ = true;
  }
  void signal(int number) { kill(child_, number); }
  // Whether it has ended; its status can still be asked for.
  bool ended() const {
    siginfo_t info = {};
    return waitid(P_PID, static_cast<id_t>(child_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid != 0;
  }

  void resize(const winsize& size) {
    if (ioctl(out_, TIOCSWINSZ, &size) != 0) throw_errno();
  }

  // Collects output until `enough` says so; throws after a minute.
  void wait_for(const std::function<bool()>& enough) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!enough()) {
      if (std::chrono::steady_clock::now() > end) {
        throw std::runtime_error("the program did not come to it; stdout: " + out + " stderr: " + err);
      }
      if (!collect()) break;
    }
  }
  // Waits until the text comes after what was waited for before.
  void expect(const std::string& text) {
    wait_for([&] { return out.find(text, expected_) != std::string::npos; });
    expected_ = out.find(text, expected_) + text.size();
  }

  // Waits until the prompt comes and its line can be edited: the prompt is drawn while the terminal still
  // makes signals of keys.
  void expect_prompt() {
    expect("> ");
    wait_for([&] { return (terminal().c_lflag & ICANON) == 0; });
  }

  // Waits for the end; the exit status, or 1000 plus the signal that ended it.
  int status() {
    wait_for([] { return false; });
    int result = 0;
    waitpid(child_, &result, 0);
    child_ = -1;
    return WIFEXITED(result) ? WEXITSTATUS(result) : 1000 + WTERMSIG(result);
  }

  termios terminal() const {
    termios result = {};
    if (tcgetattr(out_, &result) != 0) throw_errno();
    return result;
  }

  std::string out, err;  // so far

 private:
  [[noreturn]] static void throw_errno() { throw std::runtime_error("a system call of the test failed"); }

  // False when both ends are closed.
  bool collect() {
    pollfd ends[2] = {{out_done_ ? -1 : out_, POLLIN, 0}, {err_done_ ? -1 : err_, POLLIN, 0}};
    poll(ends, 2, 100);
    char buffer[4096];
    for (int i = 0; i < 2; ++i) {
      if (ends[i].revents == 0) continue;
      const ssize_t size = read(ends[i].fd, buffer, sizeof buffer);
      if (size > 0) {
        (i == 0 ? out : err).append(buffer, static_cast<size_t>(size));
      } else {
        (i == 0 ? out_done_ : err_done_) = true;  // a terminal's end is EIO
      }
    }
    return !(out_done_ && err_done_);
  }

  pid_t child_ = -1;
  size_t expected_ = 0;  // where in `out` expect() looks on
  int in_ = -1, out_ = -1, err_ = -1;
  bool out_done_ = false, err_done_ = false;
};

}  // namespace cairn::cli
