#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.hpp"
#include "kernels/panel.hpp"

namespace cairn::kernels {

// Prefill's matrix product. A chunk of tokens is held in tiles of tile_tokens,
// each [features][tile_tokens]: the lanes of a vector are tokens, a weight is
// broadcast to all of them, and no loop over features ever needs a horizontal
// sum.
//
//   out[row][token] = Σ_k weight[row][k] · x[k][token]
//
// Activations are 8-bit with a scale for each (token, 32 along k), weights 8-bit or codes of fewer bits
// (panel.hpp); EncodingKernels::fill_panel writes them.

// Activations of one tile of tokens (tile_tokens() of them), quantised.
struct ActivationTile {
  int8_t* values;  // in [−127, 127]; GemmKernels::tile_place
  float* scales;   // [k / 32][tile_tokens]
  float* sums;     // [k / 32][tile_tokens]: scale · Σ of the group's values
  // What the sums of the target's codes start with (targets/gemm.cpp): [k / 32], [k / 16][tile_tokens]
  int32_t *starts, *half_starts;
};

struct GemmKernels {
  size_t tile_tokens;    // tokens in an ActivationTile
  size_t tile_rows;      // panels have a multiple of this many rows
  bool has_halves;       // whether any form has a scale for each 16, and
                         // ActivationTile half_starts
  size_t values8_bytes;  // that a value of form values8 takes: 1, or 2 as sign
                         // and magnitude
  int values8_zero;      // what such a value of one byte has been raised by
  // Elements of k that a product sums at once, and rows whose steps of k lie
  // side by side in a panel, and rows whose scales do.
  size_t step, rows_together, scales_together;

  // x: [k][tile_tokens], k a multiple of 32.
  void (*quantize_tile)(const float* x, size_t k, const ActivationTile& tile);
  // out: [rows][tile_tokens] for `rows` (a multiple of tile_rows) of the panel.
  void (*multiply)(PanelForm form, const WeightPanel& panel, size_t rows, size_t k,
                   const ActivationTile& tile, float* out);
  // The float product of --precision f32: weights [rows][k], x [k][tile_tokens], rows and out as above.
  void (*multiply_f32)(const float* weights, size_t rows, size_t k, const float* x, float* out);

  // Where an element's byte lies: in a tile, [k / step][tile_tokens][step];
  // in a panel of values of one byte,
  // [rows / rows_together][k / step][rows_together][step].
  size_t tile_place(size_t column, size_t token) const {
    return (column / step * tile_tokens + token) * step + column % step;
  }
  size_t panel_place(size_t row, size_t column, size_t k) const {
    return row / rows_together * rows_together * k + column / step * step * rows_together +
           row % rows_together * step + column % step;
  }
  // Where a panel has a scale; `scales` of them a row.
  size_t scale_place(size_t row, size_t index, size_t scales) const {
    const size_t together = scales_together;
    return row / together * together * scales + index * together + row % together;
  }
  size_t value_bytes(PanelForm form) const { return form == PanelForm::values8 ? values8_bytes : 1; }
};

// A tile of k in memory of one piece: its size, a multiple of 64, and where its parts lie.
inline size_t activation_bytes(const GemmKernels& gemm, size_t k) {
  const size_t lanes = gemm.tile_tokens, groups = k / kGroup * lanes;
  return (k * lanes + groups * sizeof(float) * (gemm.has_halves ? 5 : 3) + 63) / 64 * 64;
}
inline ActivationTile activation_tile(const GemmKernels& gemm, uint8_t* memory, size_t k) {
  const size_t groups = k / kGroup * gemm.tile_tokens;
  float* scales = reinterpret_cast<float*>(memory + k * gemm.tile_tokens);
  int32_t* starts = reinterpret_cast<int32_t*>(scales + 2 * groups);
  return {reinterpret_cast<int8_t*>(memory), scales, scales + groups, starts,
          gemm.has_halves ? starts + groups : nullptr};
}

// Products a second that one thread reaches with registers only: the limits that `bench --peak` prints.
enum class Peak : uint8_t { int8, int8_codes4, fp32, bf16 };
struct PeakKernels {
  const char* instructions[4];  // what the sequence is, null where the target has none
  // Runs `iterations` of the sequence; returns operations done (a multiply-add counts two).
  double (*run)(Peak peak, size_t iterations);
  // Reads `bytes` with vector loads and software prefetch; returns a checksum.
  uint64_t (*read)(const void* data, size_t bytes);
};

}  // namespace cairn::kernels
