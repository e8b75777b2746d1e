#include "video/memory_file.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.hpp"

namespace cairn::video {

MemoryFile::MemoryFile() : descriptor_(memfd_create("cairn-video", MFD_CLOEXEC)) {
  if (descriptor_ < 0) fail(ErrorCode::io, "a file in memory: {}", std::strerror(errno));
  path_ = fmt::format("/proc/self/fd/{}", descriptor_);
}

MemoryFile::~MemoryFile() {
  close(descriptor_);
}

}  // namespace cairn::video
