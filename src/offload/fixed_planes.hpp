#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "base/buffer.hpp"
#include "kernels/planes.hpp"
#include "resident/set.hpp"

namespace cairn::offload {

// A stack's matrix at one size, for devices that compile weights in: its groups' bit planes among the file's
// first `blocks`, read from the file, whatever of them is in memory. They stay as long as this does.
class FixedPlanes {
 public:
  // Borrows the set and its matrix. notice: one line for each block that cannot be read, or is not what it
  // was; it and the levels of its group above it are left out.
  FixedPlanes(const resident::Set& set, const resident::Matrix& matrix, size_t blocks,
              std::function<void(const std::string&)> notice);

  // Reads them when they are first asked for. From any thread.
  kernels::PlaneRows planes(uint32_t group) const;
  // Of the blocks' checksums and the tables.
  uint64_t fingerprint() const;

 private:
  struct Group {
    std::vector<size_t> blocks;  // by level
    Buffer memory;
    kernels::PlaneRows rows{};  // level 0: not read yet
  };
  void read(uint32_t number, Group& group) const;

  const resident::Set& set_;
  const resident::Matrix& matrix_;
  const std::function<void(const std::string&)> notice_;
  mutable std::mutex reading_;
  mutable std::vector<Group> groups_;
};

}  // namespace cairn::offload
