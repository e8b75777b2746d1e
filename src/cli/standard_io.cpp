#include "cli/standard_io.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>

#include "base/error.hpp"
#include "base/interrupt.hpp"

namespace cairn::cli {
namespace {

constexpr int kTurnMilliseconds = 100;  // of waiting, between two looks at the interrupt flag

}  // namespace

void write_out(std::string_view text) {
  bool written = std::fflush(stdout) == 0;  // what was printed before comes first
  while (written && !text.empty()) {
    // A pipe takes so much without blocking once poll() has seen room: a reader who has stopped reading does
    // not keep a signal from ending the program.
    pollfd output = {STDOUT_FILENO, POLLOUT, 0};
    if (poll(&output, 1, kTurnMilliseconds) == 0) {
      throw_if_interrupted();
      continue;
    }
    const ssize_t size = write(STDOUT_FILENO, text.data(), std::min<size_t>(text.size(), PIPE_BUF));
    if (size > 0) text.remove_prefix(static_cast<size_t>(size));
    written = size >= 0 || errno == EINTR || errno == EAGAIN;
  }
  if (!written) fail(ErrorCode::io, "{}: {}", kCannotWriteOut, std::strerror(errno));
}

size_t read_some(int descriptor, std::span<char> buffer, std::string_view name) {
  // A signal between the check and a read that blocks would go unseen, so the waiting is done in short turns.
  while (true) {
    throw_if_interrupted();
    pollfd input = {descriptor, POLLIN, 0};
    const int ready = poll(&input, 1, kTurnMilliseconds);
    if (ready == 0) continue;
    const ssize_t size = ready < 0 ? -1 : read(descriptor, buffer.data(), buffer.size());
    if (size >= 0) return static_cast<size_t>(size);
    if (errno != EINTR && errno != EAGAIN) fail(ErrorCode::io, "{}: {}", name, std::strerror(errno));
  }
}

std::string read_text(const std::string& path) {
  const bool standard = path == "-";
  const int descriptor = standard ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const char* name = standard ? "standard input" : path.c_str();
  if (descriptor < 0) {
    fail(errno == ENOENT ? ErrorCode::not_found : ErrorCode::io, "{}: {}", name, std::strerror(errno));
  }
  struct Closer {
    int descriptor;
    ~Closer() {
      if (descriptor != STDIN_FILENO) close(descriptor);
    }
  } const closer{descriptor};
  std::string text;
  std::array<char, 1 << 16> buffer;
  while (const size_t size = read_some(descriptor, buffer, name)) text.append(buffer.data(), size);
  return text;
}

}  // namespace cairn::cli
