// Loaded before libc: aligned memory holds small random numbers of seed USED_MEMORY when it is given out, as
// after long work, and not zeros.
#include <dlfcn.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>

extern "C" int posix_memalign(void** memory, size_t alignment, size_t size) {
  using Align = int (*)(void**, size_t, size_t);
  static const auto real = reinterpret_cast<Align>(dlsym(RTLD_NEXT, "posix_memalign"));
  const int error = real(memory, alignment, size);
  if (error != 0) return error;
  const char* const seed = std::getenv("USED_MEMORY");
  auto state = static_cast<uint32_t>(seed == nullptr ? 0 : std::atoi(seed));
  auto* const words = static_cast<int16_t*>(*memory);
  for (size_t i = 0; i < size / sizeof(int16_t); ++i) {
    state = state * 1664525u + 1013904223u;
    words[i] = static_cast<int16_t>(static_cast<int32_t>(state >> 20) - 2048);
  }
  return 0;
}

extern "C" void* memalign(size_t alignment, size_t size) {
  void* memory = nullptr;
  errno = posix_memalign(&memory, alignment < sizeof(void*) ? sizeof(void*) : alignment, size);
  return memory;
}
