#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.hpp"

namespace cairn::kernels {

// Weights as bit planes: code = up to 7 bits, w = scale[row] · table[code]; any k leading planes are a code
// of k bits with a table of their own. Rows lie in tiles of 16; a tile's plane is, for each 32 columns, 64
// bytes: byte (r · 4 + c) holds in bit i (the lowest is 0) row r, column 4 · i + c. Shifting a vector by i
// therefore leaves 16 rows × 4 columns in the order of int8 dot products.
constexpr size_t kPlaneRows = 16, kPlaneColumns = 32, kPlaneBytes = 64;
constexpr uint32_t kMostPlanes = 7;
constexpr size_t kMostTileTokens = 32;  // of every target

// Products are summed in 32 bits: 65,536 · 255 · 127 still fits.
constexpr size_t kMostPlaneColumns = 65'536;

// Rows of a matrix at one level.
struct PlaneRows {
  const std::byte* planes[kMostPlanes];  // the first `level` of them: [tiles][k / 32][64]
  const uint16_t* scales;                // f16 [16 · tiles]
  uint32_t level;                        // 1 … 7
  uint32_t tiles;                        // of 16 rows
};

// A level's table as the kernels look it up: a nibble of the code's leading bits in each of up to four tables
// that the rest chooses. Of 7 bits the upper half: the lower one is its mirror image, values[127 − code] =
// −values[code].
struct PlaneTable {
  alignas(64) int8_t entries[4][16];
};
// values: 2^level of them in [−127, 127]; level 1 … 7, of 7 the upper half is read.
PlaneTable make_plane_table(uint32_t level, const int8_t* values);

// A token's activations: int8 with one scale (a rotation has spread their outliers).
struct PlaneVector {
  const int8_t* values;       // [k] in [−127, 127]
  const uint8_t* magnitudes;  // [k]: their absolute values
  float scale;
  int32_t sum;  // of the values
};

// A tile as `fill` made it, its rows' scales, and where in the output they go (UINT32_MAX: nowhere).
struct PlanePanel {
  const int8_t* values;
  const int32_t* corrections;
  const float* scales;
  const uint32_t* destination;
  size_t k;
};

struct PlaneKernels {
  size_t tile_tokens;  // that of GemmKernels

  // values and magnitudes: room for k; k a multiple of 32. NaN anywhere makes the scale NaN.
  PlaneVector (*quantize)(const float* x, size_t k, int8_t* values, uint8_t* magnitudes);
  // y[r] = row r · x for 16 · tiles rows. next: what will be read after these rows (the same when nothing
  // will), to be fetched ahead.
  void (*gemv)(const PlaneRows& rows, const PlaneTable& table, size_t k, const PlaneVector& x,
               const PlaneRows& next, float* y);
  // The same for any number of tokens: y[i · y_stride + r] = row r · x[i], each the bits of gemv; weights are
  // read and unpacked once for eight.
  void (*gemv_batch)(const PlaneRows& rows, const PlaneTable& table, size_t k, const PlaneVector* x,
                     size_t count, const PlaneRows& next, float* y, size_t y_stride);
  // One tile's values as [k / 4][16 rows][4], and corrections[16] = −128 · Σ of each row's.
  void (*fill)(const PlaneRows& rows, uint32_t tile, const PlaneTable& table, size_t k, int8_t* panel,
               int32_t* corrections);
  // Prefill's product: for r < 16, out[destination[r]][lane] = (scales[r] · Σ_k panel · (values − 128)) ·
  // lanes[lane] + bias[destination[r]], rounded where StaticKernels' multiply and finish round: what a matrix
  // engine makes of the same rows has the same bits. values: [k / 4][tile_tokens][4] as
  // StaticKernels::quantize writes them; bias may be null.
  void (*multiply)(const PlanePanel& panel, const uint8_t* values, const float* lanes, const float* bias,
                   float* out);
  // Row r of 16 · tiles as floats [k].
  void (*row)(const PlaneRows& rows, uint32_t r, const PlaneTable& table, size_t k, float* out);
  // scales[16] of a tile as floats.
  void (*scales)(const PlaneRows& rows, uint32_t tile, float* out);
};

}  // namespace cairn::kernels
