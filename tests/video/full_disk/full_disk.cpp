// Loaded before libc: a disk that is full after FULL_DISK_BYTES written to files below FULL_DISK_UNDER.
#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

extern "C" ssize_t write(int descriptor, const void* bytes, size_t count) {
  using Write = ssize_t (*)(int, const void*, size_t);
  static const auto real = reinterpret_cast<Write>(dlsym(RTLD_NEXT, "write"));
  static const char* const under = std::getenv("FULL_DISK_UNDER");
  static const char* const most = std::getenv("FULL_DISK_BYTES");
  static std::atomic<size_t> written = 0;
  char name[64], path[4096];
  std::snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
  const ssize_t length = readlink(name, path, sizeof path - 1);
  if (under != nullptr && most != nullptr && length > 0) {
    path[length] = '\0';
    if (std::strncmp(path, under, std::strlen(under)) == 0 &&
        (written += count) > std::strtoull(most, nullptr, 10)) {
      errno = ENOSPC;
      return -1;
    }
  }
  return real(descriptor, bytes, count);
}
