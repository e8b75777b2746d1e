#include "cli/standard_io.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/error.hpp"
#include "base/interrupt.hpp"

namespace cairn::cli {

void write_out(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    fail(ErrorCode::io, "cannot write to standard output: {}", std::strerror(errno));
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
  while (true) {
    const ssize_t size = read(descriptor, buffer.data(), buffer.size());
    if (size == 0) return text;
    if (size > 0) {
      text.append(buffer.data(), static_cast<size_t>(size));
      continue;
    }
    if (errno != EINTR) fail(ErrorCode::io, "{}: {}", name, std::strerror(errno));
    throw_if_interrupted();
  }
}

}  // namespace cairn::cli
