#pragma once

#include <cstdint>

#include "device/cpu/buffer.hpp"
#include "device/runner.hpp"
#include "kernels/vector.hpp"

namespace cairn::device::cpu {

// Keys and values of every layer: [layer][key, value][kv head][position][head_size], f16 or int8 with a scale
// for each row.
class KvCache {
 public:
  KvCache(const graph::HyperParameters& parameters, uint32_t context, KvType type);

  struct Place {
    void* row;     // of the position asked for; the next position's row follows
    float* scale;  // null for f16
  };
  Place keys(uint32_t layer, uint32_t head, uint32_t position) const {
    return place(2 * layer, head, position);
  }
  Place values(uint32_t layer, uint32_t head, uint32_t position) const {
    return place(2 * layer + 1, head, position);
  }
  static kernels::KvRows rows(const Place& first) { return {first.row, first.scale}; }

  uint64_t bytes_used(uint32_t length) const;  // of `length` positions

 private:
  Place place(uint32_t matrix, uint32_t head, uint32_t position) const;

  uint32_t heads_, head_size_, context_, matrices_;
  size_t element_;  // bytes
  Buffer rows_, scales_;
};

}  // namespace cairn::device::cpu
