#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/cpu/plan.hpp"
#include "kernels/static_int8.hpp"
#include "offload/accelerator.hpp"
#include "offload/fixed_planes.hpp"
#include "quantize/scheme.hpp"

namespace cairn::offload {

// One linear's weights as its treatment wants them: W' = W · diag(divisors) · R, made from the model file's
// blocks whenever they are asked for.
class LinearWeights {
 public:
  // plan: the bound op's. rotation: of the input's width, or null. They and the model file must outlive
  // this. Error invalid_argument: one scale for all of a stack's rows.
  LinearWeights(const cpu::Plan& plan, const cpu::BoundOp& bound, const quantize::Treatment& treatment,
                quantize::WeightScale scale, const quantize::Rotation* rotation,
                const kernels::StaticKernels& kernels);

  const std::string& name() const { return bound_.op.weight; }
  uint32_t rows() const { return static_cast<uint32_t>(bound_.matrix.rows); }
  uint32_t k() const { return static_cast<uint32_t>(bound_.matrix.k); }
  const float* bias() const { return bound_.bias; }
  graph::Slot output() const { return bound_.op.output; }

  const resident::Matrix* stack() const { return bound_.matrix.stack; }  // null: no stack's

  // Int8Linear::fill. fixed: of a stack's matrix at one size; null: as much of it as is in memory.
  void fill(uint32_t begin, uint32_t count, int8_t* values, float* scales,
            const FixedPlanes* fixed = nullptr) const;
  // Int8Linear::order and ::fill_stored, of a stack's matrix.
  std::span<const uint32_t> order() const { return order_; }
  void fill_stored(uint32_t begin, uint32_t count, int8_t* values, float* scales) const;
  // columns[c][row] = W'[row][channels[c]], ascending channels. Returns the bytes of the file that it read.
  uint64_t gather(std::span<const uint32_t> channels, float* columns) const;
  // Hash of the file's data (a sample of it) and of the tensor's name and shape.
  uint64_t fingerprint(const FixedPlanes* fixed = nullptr) const;

 private:
  size_t row_floats() const;  // of a row and what loading it wants to work in
  // out: row_floats(), the row first
  void load(uint32_t row, float* out, const FixedPlanes* fixed = nullptr) const;
  void load_stored(uint32_t stored, float* out, const FixedPlanes* fixed) const;
  void quantize(const float* row, int8_t* values, float* scale) const;
  const std::byte* exact(uint32_t group, const FixedPlanes* fixed) const;  // rows of the source, or null
  bool takes_planes() const;  // as they are: they have the rotation that is wanted
  void fill_tile(uint32_t tile, int8_t* values, float* scales, const FixedPlanes* fixed) const;
  void fill_from_tiles(uint32_t begin, uint32_t count, int8_t* values, float* scales,
                       const FixedPlanes* fixed) const;

  const cpu::Plan& plan_;
  const cpu::BoundOp& bound_;
  const quantize::Treatment& treatment_;
  const quantize::Rotation* rotation_;
  const kernels::StaticKernels& kernels_;
  float tensor_largest_ = 0;     // WeightScale::tensor
  std::vector<uint32_t> order_;  // of a stack's stored rows, in whole tiles
};

// Shadow execution's weights of one linear input: hot channels in memory in f16, others from the file.
class ShadowColumns {
 public:
  ShadowColumns(std::span<const LinearWeights> linears, std::span<const uint32_t> hot);

  struct Counts {
    uint64_t hot = 0, cold = 0, cold_bytes = 0;
  };
  // columns[c][row of all linears one after the other] for ascending channels.
  Counts load(std::span<const uint32_t> channels, float* columns) const;
  uint32_t rows() const { return rows_; }
  uint64_t bytes() const { return halves_.size() * sizeof(uint16_t); }

 private:
  std::span<const LinearWeights> linears_;
  std::vector<uint32_t> hot_;
  uint32_t rows_ = 0;
  std::vector<uint16_t> halves_;  // [hot][rows], f16
};

}  // namespace cairn::offload
