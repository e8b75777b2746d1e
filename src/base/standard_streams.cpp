#include "base/standard_streams.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "base/interrupt.hpp"

namespace cairn {

void open_standard_descriptors() noexcept {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
    // The lowest free number is given out, and those below are open. An answer that nobody gets is an error,
    // so standard output may not be written.
    const int opened = open("/dev/null", descriptor == STDERR_FILENO ? O_WRONLY : O_RDONLY);
    if (opened >= 0 && opened != descriptor) close(opened);
  }
}

void write_error(std::string_view text) noexcept {
  while (!text.empty()) {
    // Short enough not to block once poll() has seen room, so that a reader who has stopped reading does not
    // keep a signal from ending the program.
    pollfd error = {STDERR_FILENO, POLLOUT, 0};
    const int ready = poll(&error, 1, 100);
    if (ready == 0 && interrupted()) return;
    if (ready == 0) continue;
    const ssize_t size = write(STDERR_FILENO, text.data(), std::min<size_t>(text.size(), PIPE_BUF));
    if (size < 0 && errno != EINTR && errno != EAGAIN) return;
    if (size > 0) text.remove_prefix(static_cast<size_t>(size));
  }
}

bool output_reader_left() noexcept {
  pollfd output = {STDOUT_FILENO, POLLOUT, 0};
  return poll(&output, 1, 0) == 1 && (output.revents & (POLLERR | POLLHUP)) != 0;
}

}  // namespace cairn
