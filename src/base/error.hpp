// base: what every room needs: errors, mapped files, threads, progress, clocks.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace cairn {

// The one exception type. The code tells a front end what kind of failure it is (the C ABI returns it, the
// program's exit status follows from it); the text is one line that names the file, the place and the reason.
enum class ErrorCode {
  invalid_argument = 2,  // the caller asked for something that cannot be
  not_found,             // a file, a model, a tensor is not there
  io,                    // reading or writing failed
  format,                // a file's content contradicts itself or its format
  unsupported,           // well-formed, but cairn does not know it
  out_of_memory,
  network,
  numeric,    // NaN or infinity where a number was due
  cancelled,  // the user or the caller stopped it
  busy,       // too many ask at once; later there may be room
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& text) : std::runtime_error(text), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

// throw Error(code, fmt::format(...))
template <class... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace cairn
