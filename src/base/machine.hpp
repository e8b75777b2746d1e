#pragma once

#include <cstdint>
#include <string>

namespace cairn {

std::string processor_name();  // as the processor gives it, "unknown processor" where it does not
uint64_t memory_bytes();       // physical memory

}  // namespace cairn
