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
  bool old = false;                // of version 1: header and tensors have no checksums
  std::vector<std::string> bad_tensors;
  std::vector<BadBlock> bad;
};

// Compares every tensor's checksum and that of every block that is there; what pads the blocks is zero. (The
// header's was compared when it was read.) progress: bytes.
Verification verify(const Reader& reader,
                    const std::function<void(uint64_t done, uint64_t total)>& progress = {});

// Error format names the first thing that verify() finds wrong.
void require_sound(const std::string& path);

}  // namespace cairn::stack
