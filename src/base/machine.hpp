#pragma once

#include <cstdint>
#include <string>

namespace cairn {

std::string processor_name();  // as the processor gives it, "unknown processor" where it does not
uint64_t memory_bytes();       // physical memory

// False in a program that was linked statically: glibc opens libraries there only beside its own shared one,
// of its version.
bool opens_libraries();

}  // namespace cairn
