#pragma once

#include <functional>
#include <span>
#include <string>

namespace cairn {

struct Finished {
  bool started = true;  // false: no such program
  int status = 0;       // exit status; 128 + signal when one ended it
};

// Runs a program (looked up in PATH, no shell) to its end, stdin empty, stdout and stderr together in `log`.
// `variables` ("NAME=value") are added to the environment. Calls `tick` about ten times a second. An
// interrupt ends the program and throws Error cancelled; so does whatever `tick` throws. Error io: the
// program cannot be started, or nobody can tell how it ended.
Finished run_program(std::span<const std::string> arguments, std::span<const std::string> variables,
                     const std::string& log, const std::function<void()>& tick);

}  // namespace cairn
