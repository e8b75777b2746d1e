#pragma once

#include <cstdint>

#include "device/cpu/buffer.hpp"
#include "graph/graph.hpp"
#include "kernels/vector.hpp"

namespace cairn::device::cpu {

// Keys and values of every layer: [layer][key, value][kv head][position][head_size], in f16, f32, or int8
// with a scale for each row.
class KvCache {
 public:
  KvCache(const graph::HyperParameters& parameters, uint32_t context, kernels::KvFormat format);

  struct Place {
    void* row;     // of the position asked for; the next position's row follows
    float* scale;  // i8 only, else null
  };
  Place keys(uint32_t layer, uint32_t head, uint32_t position) const {
    return place(2 * layer, head, position);
  }
  Place values(uint32_t layer, uint32_t head, uint32_t position) const {
    return place(2 * layer + 1, head, position);
  }
  kernels::KvFormat format() const { return format_; }
  // All positions of one head, as the kernels take them.
  kernels::KvRows key_rows(uint32_t layer, uint32_t head) const { return rows(keys(layer, head, 0)); }
  kernels::KvRows value_rows(uint32_t layer, uint32_t head) const { return rows(values(layer, head, 0)); }

  uint64_t bytes_used(uint32_t length) const;  // of `length` positions

 private:
  Place place(uint32_t matrix, uint32_t head, uint32_t position) const;
  kernels::KvRows rows(const Place& first) const { return {format_, first.row, first.scale}; }

  kernels::KvFormat format_;
  uint32_t heads_, head_size_, context_, matrices_;
  size_t element_;  // bytes
  Buffer rows_, scales_;
};

}  // namespace cairn::device::cpu
