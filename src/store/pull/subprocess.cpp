#include "store/pull/subprocess.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string_view>
#include <thread>
#include <vector>

#include "base/error.hpp"
#include "base/interrupt.hpp"

namespace cairn {
namespace {

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> environment_with(std::span<const std::string> variables) {
  std::vector<std::string> result(variables.begin(), variables.end());
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    bool replaced = false;
    for (const std::string& variable : variables) {
      replaced |= text.starts_with(variable.substr(0, variable.find('=') + 1));
    }
    if (!replaced) result.emplace_back(text);
  }
  return result;
}

pid_t spawn(std::span<const std::string> arguments, std::span<const std::string> variables,
            const std::string& log) {
  std::vector<std::string> argument_texts(arguments.begin(), arguments.end());
  std::vector<std::string> variable_texts = environment_with(variables);

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;  // ignored signals would stay ignored in the program
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  sigaddset(&defaults, SIGXFSZ);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);

  pid_t child = 0;
  const int error = posix_spawnp(&child, argument_texts.front().c_str(), &files, &attributes,
                                 pointers(argument_texts).data(), pointers(variable_texts).data());
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (error == ENOENT) return -1;
  if (error != 0) fail(ErrorCode::io, "cannot start {}: {}", argument_texts.front(), std::strerror(error));
  return child;
}

// Somebody else has waited for it, or nobody can (SIGCHLD is ignored): its number may be another's by now.
struct LostChild {
  int reason;
};

bool ended(pid_t child, int& status) {
  const pid_t found = waitpid(child, &status, WNOHANG);
  if (found < 0 && errno != EINTR) throw LostChild{errno};
  return found == child;
}

}  // namespace

Finished run_program(std::span<const std::string> arguments, std::span<const std::string> variables,
                     const std::string& log, const std::function<void()>& tick) {
  const pid_t child = spawn(arguments, variables, log);
  if (child < 0) return {.started = false, .status = 127};
  int status = 0;
  try {
    while (!ended(child, status)) {
      throw_if_interrupted();
      tick();
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  } catch (const LostChild& lost) {
    fail(ErrorCode::io, "cannot tell how {} ended: {}", arguments.front(), std::strerror(lost.reason));
  } catch (...) {
    kill(child, SIGTERM);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    throw;
  }
  return {.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)};
}

}  // namespace cairn
