#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "stack/restore.hpp"

namespace cairn::stack {

struct BadBlock {
  size_t block;
  std::string reason;  // one line that names it
  size_t without = 0;  // blocks of higher levels of its group, which are of no use without it
};

struct Verification {
  size_t blocks = 0, present = 0;  // in all; whole in the file
  std::vector<BadBlock> bad;
};

// Reads every block that is there and compares its checksum. progress: bytes.
Verification verify(const Reader& reader,
                    const std::function<void(uint64_t done, uint64_t total)>& progress = {});

}  // namespace cairn::stack
