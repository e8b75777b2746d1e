#pragma once

// Shows what is synced: fsync of the program that includes this, in one file, is this one.
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

namespace cairn::testing {
inline std::atomic<int> folders_synced{0};
}  // namespace cairn::testing

extern "C" int fsync(int descriptor) {
  struct stat status {};
  if (fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode)) ++cairn::testing::folders_synced;
  return static_cast<int>(syscall(SYS_fsync, descriptor));
}
