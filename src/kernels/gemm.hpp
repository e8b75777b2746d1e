#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.hpp"

namespace cairn::kernels {

// Prefill's matrix product. A chunk of tokens is held in tiles of tile_tokens, each [features][tile_tokens]:
// the lanes of a vector are tokens, a weight is broadcast to all of them, and no loop over features ever
// needs a horizontal sum.
//
//   out[row][token] = Σ_k weight[row][k] · x[k][token]
//
// Both sides are 8-bit: activations u8 = s8 + 128 with a scale for each (token, 32 along k), weights s8 with
// a scale for each (row, weight_group along k). The +128 is taken back through `corrections`.

// Activations of one tile of tokens (tile_tokens() of them), quantised.
struct ActivationTile {
  uint8_t* values;  // [k / 4][tile_tokens][4]
  float* scales;    // [k / 32][tile_tokens]
  float* sums;      // [k / 32][tile_tokens]: scale · Σ of the group's signed values
};

// A panel of weight rows in the form that the target multiplies fastest; plain memory owned by the caller.
struct WeightPanel {
  int8_t* values;        // [rows][k]
  int32_t* corrections;  // [rows][k / 32]: −128 · Σ of the group's values
  float* scales;         // [rows][k / 32]
  float* offsets;        // [rows][k / 32], only in form `codes4`
};

enum class PanelForm : uint8_t {
  values8,  // 8-bit values (7-bit where the target has no VNNI: two u8·s7 products fit in 16 bits)
  codes4,   // 4-bit codes less 8, plus an offset: summed exactly in 16 bits where there is no VNNI
};

struct GemmKernels {
  size_t tile_tokens;  // tokens in an ActivationTile
  size_t tile_rows;    // panels have a multiple of this many rows
  bool uses_codes4;    // whether fill_codes4 gives form codes4 (else values8)
  int most_value;      // largest |value| of form values8: 127, or 63 where there is no VNNI

  // x: [k][tile_tokens], k a multiple of 32.
  void (*quantize_tile)(const float* x, size_t k, const ActivationTile& tile);
  // One row into form values8. From floats, rounded to most_value steps:
  void (*fill_floats)(const float* row, size_t k, int8_t* values, int32_t* corrections, float* scales);
  // ... from values that EncodingKernels::unpack8 has written, where they fit most_value (exact):
  void (*fill_values8)(size_t k, const int8_t* values, int32_t* corrections);
  // ... from what EncodingKernels::unpack4 has written to codes, scales, offsets. In form codes4 exact. In
  // form values8 w = scale · code + offset becomes scale/n · (n · code + round(n · offset / scale)), n ≤ 15
  // chosen for each group so that hardly anything is left to round.
  void (*fill_codes4)(size_t k, uint8_t* codes, float* scales, int32_t* corrections, float* offsets);
  // out: [rows][tile_tokens] for `rows` (a multiple of tile_rows) of the panel.
  void (*multiply)(PanelForm form, const WeightPanel& panel, size_t rows, size_t k,
                   const ActivationTile& tile, float* out);
  // The float product of --precision f32: weights [rows][k], x [k][tile_tokens], rows and out as above.
  void (*multiply_f32)(const float* weights, size_t rows, size_t k, const float* x, float* out);
};

const GemmKernels& gemm_kernels(Target target);

// Products a second that one thread reaches with registers only: the limits that `bench --peak` prints.
enum class Peak : uint8_t { int8, int8_codes4, fp32, bf16 };
struct PeakKernels {
  const char* instructions[4];  // what the sequence is, null where the target has none
  // Runs `iterations` of the sequence; returns operations done (a multiply-add counts two).
  double (*run)(Peak peak, size_t iterations);
  // Reads `bytes` with vector loads and software prefetch; returns a checksum.
  uint64_t (*read)(const void* data, size_t bytes);
};
const PeakKernels& peak_kernels(Target target);

}  // namespace cairn::kernels
