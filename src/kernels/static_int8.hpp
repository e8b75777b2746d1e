#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.hpp"

namespace cairn::kernels {

// Products are summed in 32 bits: 131,072 · 127 · 128 still fits.
constexpr size_t kMostStaticColumns = 131'072;

// The product that matrix engines do: int8 × int8 summed in int32 over the whole of k, one scale a weight
// row; and what prepares its input. Tiles of tokens as in gemm.hpp; k is a multiple of 4, at most
// kMostStaticColumns.
struct StaticKernels {
  size_t tile_tokens, tile_rows;  // those of GemmKernels

  // largest[lane] = max |x[·][lane]|, x: [k][tile_tokens].
  void (*token_largest)(const float* x, size_t k, float* largest);
  // values = clamp(round(x · inverse[lane]), −127, 127) + 128 as [k / 4][tile_tokens][4]; returns whether
  // anything was clamped. NaN becomes 128 (zero): the caller's scales carry it.
  bool (*quantize)(const float* x, size_t k, const float* inverse, uint8_t* values);
  // corrections[row] = −128 · Σ weights[row][·], what `multiply` takes back for the + 128 of the values.
  void (*corrections)(const int8_t* weights, size_t rows, size_t k, int32_t* corrections);
  // out[row][lane] = scales[row] · Σ_k weights[row][k] · (values[k][lane] − 128), weights in [−127, 127];
  // rows is a multiple of tile_rows. Exact up to the final product.
  void (*multiply)(const int8_t* weights, const int32_t* corrections, const float* scales, size_t rows,
                   size_t k, const uint8_t* values, float* out);
  // out[row][lane] = out[row][lane] · lanes[lane] + bias[row] (bias may be null): what a device leaves to do.
  void (*finish)(float* out, size_t rows, const float* lanes, const float* bias);
  // One weight row to int8: values = round(row · 127 / largest).
  void (*quantize_row)(const float* row, size_t k, float largest, int8_t* values);
  float (*largest)(const float* row, size_t k);
  // x[i][c] = Σ_j mixing[i][j] · x[j][c] in place, x: [blocks][n], mixing: [blocks][blocks]; scratch: 64 ·
  // blocks floats. What is left of a rotation when the Hadamard transforms of its blocks are done.
  void (*mix)(float* x, const float* mixing, size_t blocks, size_t n, float* scratch);
  // Shadow execution's product: out[row][lane] += Σ_c columns[c][row] · x[c][lane], rows of any number.
  void (*add_columns)(const float* const* columns, size_t count, size_t rows, const float* x, float* out);
  // to[c · to_stride + r] = from[r · from_stride + c] ^ flip: tiles to a device's rows and back.
  void (*transpose)(const uint32_t* from, size_t from_stride, size_t rows, size_t columns, uint32_t* to,
                    size_t to_stride, uint32_t flip);
};

}  // namespace cairn::kernels
