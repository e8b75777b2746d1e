// A stack made the plain way, by rounding to uniform tables: what tests of the run time need, and no more.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "formats/gguf.hpp"
#include "formats/stack_file.hpp"
#include "graph/graph.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/kernels.hpp"
#include "kernels/planes.hpp"
#include "kernels/vector.hpp"
#include "quantize/scheme.hpp"

namespace cairn::resident {

struct PlainStack {
  uint32_t rows_per_group = 32;
  uint8_t planes = stack::kPlanes;
  bool embeddings = true;  // as planes too
  bool exact = false;      // a last level with the source's rows
  bool rotate = true;
  bool random = false;       // blocks of random bits: quickly made, computes nothing in particular
  bool shuffle_rows = true;  // stored rows in another order than the source's
};

// The middles of 2^k equal parts of [−127, 127].
inline int8_t uniform_table(uint32_t level, uint32_t code) {
  const double step = 254.0 / (1u << level);
  return static_cast<int8_t>(std::lround(-127 + step * (code + 0.5)));
}

class PlainStackWriter {
 public:
  PlainStackWriter(const std::string& source, const PlainStack& options) : file_(source), options_(options) {
    const graph::Model model = graph::load(file_);
    for (const graph::Layer& layer : model.layers) {
      for (const graph::OpList& ops : layer) add(ops);
    }
    if (options_.embeddings) {
      add(model.head);
      add(model.embed);
    }
    make_layout();
  }

  void write(const std::string& path) {
    std::vector<const gguf::Tensor*> rest;
    for (const gguf::Tensor& tensor : file_.tensors()) {
      if (!index_.contains(std::string(tensor.name))) rest.push_back(&tensor);
    }
    // Checksums stand before the blocks.
    for (size_t i = 0; i < layout_.blocks.size(); ++i) {
      std::vector<std::byte> bytes(layout_.blocks[i].bytes);
      fill(i, bytes);
      layout_.blocks[i].checksum = XXH3_64bits(bytes.data(), bytes.size());
    }
    stack::write_stack(path, file_, rest, layout_,
                       [this](size_t i, std::span<std::byte> out) { fill(i, out); });
  }

 private:
  void add(const graph::OpList& ops) {
    for (const graph::Op& op : ops) {
      if (op.kind != graph::OpKind::linear && op.kind != graph::OpKind::embed) continue;
      const gguf::Tensor& tensor = file_.tensor(op.weight);
      if (tensor.row_elements() % stack::kTileColumns != 0) continue;
      if (!index_.emplace(op.weight, layout_.matrices.size()).second) continue;
      stack::Matrix m;
      m.name = op.weight;
      m.rows = static_cast<uint32_t>(tensor.rows());
      m.columns = static_cast<uint32_t>(tensor.row_elements());
      m.rows_per_group = options_.rows_per_group;
      m.rotated = options_.rotate;
      m.source = tensor.encoding;
      m.planes = options_.planes;
      std::vector<std::vector<uint32_t>> in_group(m.groups());
      uint32_t next = 0;
      for (uint32_t row = 0; row < m.rows;
           ++row) {  // dealt out in turn; groups that are full are passed over
        uint32_t group = options_.shuffle_rows ? next++ % m.groups() : row / m.rows_per_group;
        while (in_group[group].size() == m.group_rows(group)) group = (group + 1) % m.groups();
        in_group[group].push_back(row);
      }
      for (const auto& rows : in_group) m.permutation.insert(m.permutation.end(), rows.begin(), rows.end());
      layout_.matrices.push_back(m);
    }
  }

  void make_layout() {
    for (uint32_t level = 1; level <= options_.planes; ++level) {
      for (uint32_t code = 0; code < 1u << level; ++code)
        layout_.tables[stack::table_offset(level) + code] = uniform_table(level, code);
    }
    const int levels = options_.planes + (options_.exact ? 1 : 0);
    for (int level = 1; level <= levels; ++level) {
      for (uint32_t i = 0; i < layout_.matrices.size(); ++i) {
        const stack::Matrix& m = layout_.matrices[i];
        for (uint32_t group = 0; group < m.groups(); ++group) {
          stack::Block block;
          block.matrix = i;
          block.group = group;
          block.level = static_cast<uint8_t>(level);
          block.bytes = stack::block_bytes(m, layout_.codec, group, block.level);
          block.loss = static_cast<float>(10 - level);
          layout_.blocks.push_back(block);
        }
      }
    }
  }

  void fill(size_t index, std::span<std::byte> out) {
    const stack::Block& block = layout_.blocks[index];
    const stack::Matrix& m = layout_.matrices[block.matrix];
    const gguf::Tensor& tensor = file_.tensor(m.name);
    const uint32_t rows = m.group_rows(block.group), first = m.group_begin(block.group);
    std::fill(out.begin(), out.end(), std::byte{0});
    if (options_.random) return fill_random(index, out);
    if (block.level == m.exact()) {
      for (uint32_t r = 0; r < rows; ++r)
        std::memcpy(out.data() + r * tensor.row_bytes(),
                    tensor.data.data() + m.permutation[first + r] * tensor.row_bytes(), tensor.row_bytes());
      return;
    }
    const size_t scale_bytes = (rows * 2 + 63) / 64 * 64, steps = m.columns / 32;
    const quantize::Rotation rotation(m.columns);
    std::vector<float> row(m.columns), scratch(rotation.scratch_floats());
    for (uint32_t r = 0; r < rows; ++r) {
      const std::byte* from = tensor.data.data() + m.permutation[first + r] * tensor.row_bytes();
      kernels::kernel_set(kernels::default_target())
          .encoding(tensor.encoding)
          .dequantize(from, m.columns, row.data());
      if (m.rotated) rotation.apply(row.data(), scratch.data());
      float largest = 1e-20f;
      for (const float w : row) largest = std::max(largest, std::abs(w));
      const float scale = largest / 127;
      kernels::kernel_set(kernels::Target::portable)
          .attention.store_row(kernels::KvFormat::f16, &scale, 1, out.data() + 2 * r, nullptr);
      for (uint32_t c = 0; c < m.columns; ++c) {
        const int codes = 1 << m.planes;
        const int code = std::clamp(static_cast<int>((row[c] / largest + 1) * static_cast<float>(codes / 2)),
                                    0, codes - 1);
        const int bit = code >> (m.planes - block.level) & 1;
        const size_t step = r / 16 * steps + c / 32;
        out[scale_bytes + step * 64 + r % 16 * 4 + c % 4] |= static_cast<std::byte>(bit << (c % 32 / 4));
      }
    }
  }

  // Scales of 2^-12 and random planes; exact rows are zeros.
  void fill_random(size_t index, std::span<std::byte> out) const {
    const stack::Block& block = layout_.blocks[index];
    const stack::Matrix& m = layout_.matrices[block.matrix];
    if (block.level == m.exact()) return;
    const uint32_t rows = m.group_rows(block.group);
    for (uint32_t r = 0; r < rows; ++r) out[2 * r + 1] = std::byte{0x0C};
    uint64_t state = index;
    for (size_t i = (rows * 2 + 63) / 64 * 64; i + 8 <= out.size(); i += 8) {
      state = state * 6364136223846793005 + 1442695040888963407;
      std::memcpy(out.data() + i, &state, 8);
    }
  }

  gguf::File file_;
  PlainStack options_;
  stack::Layout layout_;
  std::map<std::string, size_t> index_;
};

inline void write_plain_stack(const std::string& source, const std::string& path,
                              const PlainStack& options = {}) {
  PlainStackWriter(source, options).write(path);
}

}  // namespace cairn::resident
