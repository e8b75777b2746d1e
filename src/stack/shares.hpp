// Statistics over a text by shares of its windows, each in a file of its own, made by whichever machine.
#pragma once

#include <cstdint>
#include <string>

#include "stack/moments.hpp"
#include "stack/spool.hpp"

namespace cairn::stack {

struct WindowRange {
  size_t begin = 0, end = 0;
};
// Share number `share` of `shares`, of `windows`.
constexpr WindowRange range_of_share(size_t windows, uint32_t share, uint32_t shares) {
  return {windows * share / shares, windows * (share + 1) / shares};
}

// Beside a stack's path. A spool: first CostSums::sums(), then a record of moments for each layer.
std::string share_path(const std::string& path, uint32_t share, uint32_t shares);

// A layer's sums, input by input.
std::vector<std::byte> moment_record(const MomentCollector& moments, uint32_t layer);
// Adds those of a record. Error format, naming `path`: not of this size.
void add_moment_record(const Spool& spool, size_t record, const std::string& path, uint32_t layer,
                       MomentCollector& moments);

}  // namespace cairn::stack
