#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.hpp"

namespace cairn::kernels {

// none: x itself. relu_squared: x² where x is positive, else 0. silu_clamped is of gates alone: x · σ(1.702 ·
// x) · (y + 1), x at most 7, y between −7 and 7.
enum class Unary : uint8_t { none, silu, gelu_tanh, gelu_erf, silu_clamped, sigmoid, relu_squared };

// The float work between matrix products. "tile" kernels take [features][tile_tokens] (see gemm.hpp), "token"
// kernels one token's [features]; the rest work element by element on either.
struct VectorKernels {
  void (*add)(const float* a, const float* b, size_t n, float* out);
  void (*scale)(const float* a, float factor, size_t n, float* out);
  void (*add_scaled)(const float* a, float factor, size_t n, float* out);  // out += factor · a
  void (*activate)(Unary unary, const float* a, size_t n, float* out);
  void (*gate)(Unary unary, const float* a, const float* b, size_t n, float* out);  // unary(a) · b
  void (*softcap)(const float* a, float cap, size_t n, float* out);                 // cap · tanh(a / cap)

  void (*tile_bias)(float* x, const float* bias, size_t features);
  // out = x / sqrt(mean(x²) + epsilon) · weight, over `features`; in place allowed.
  void (*tile_norm_rms)(const float* x, const float* weight, float epsilon, size_t features, float* out);
  void (*tile_norm_layer)(const float* x, const float* weight, const float* bias, float epsilon,
                          size_t features, float* out);
  // Rotates the first `dims` of one head, x: [head_size][tile_tokens], by cosines, sines: [dims /
  // 2][tile_tokens].
  void (*tile_rope)(float* x, size_t dims, bool neox, const float* cosines, const float* sines);

  void (*token_norm_rms)(const float* x, const float* weight, float epsilon, size_t features, float* out);
  void (*token_norm_layer)(const float* x, const float* weight, const float* bias, float epsilon,
                           size_t features, float* out);
  void (*token_rope)(float* x, size_t dims, bool neox, const float* cosines,
                     const float* sines);  // [dims / 2]
  // int8 in groups of 32 as QuantizedVector wants them; k a multiple of 32.
  void (*token_quantize)(const float* x, size_t k, int8_t* values, float* scales, float* sums);
  float (*dot)(const float* a, const float* b, size_t n);

  // Fast Walsh–Hadamard transform of n (a power of two) values, orthonormal: each of `blocks` runs of n.
  void (*token_hadamard)(float* x, size_t n, size_t blocks);
  void (*tile_hadamard)(float* x, size_t n, size_t blocks);  // x: [n · blocks][tile_tokens]
};

// Elements of a row of the cache: floats of 16 or 32 bits; int8 with a float scale for each row; 4 or 5 bits
// with a 16-bit scale for each kQ4Group elements and one of 8 bits for the rest (targets/kv_q4.hpp), made for
// rows that were rotated.
enum class KvFormat : uint8_t { f16, i8, f32, q4, q5 };
constexpr size_t kQ4Group = 64;
[[gnu::always_inline]] constexpr bool is_packed(KvFormat format) {
  return format == KvFormat::q4 || format == KvFormat::q5;
}

// Bytes of a row of n elements, and of its scales. Inlined always: a kernel's file must not leave a copy for
// other instruction sets.
[[gnu::always_inline]] constexpr size_t kv_row_bytes(KvFormat format, size_t n) {
  if (is_packed(format)) return (n + 1) / 2 + (format == KvFormat::q5 ? (n + 7) / 8 : 0);
  return format == KvFormat::f32 ? 4 * n : format == KvFormat::f16 ? 2 * n : n;
}
[[gnu::always_inline]] constexpr size_t kv_scale_bytes(KvFormat format, size_t n) {
  if (is_packed(format)) return n / kQ4Group * 2 + (n % kQ4Group != 0 ? 1 : 0);
  return format == KvFormat::i8 ? 4 : 0;
}

constexpr size_t kMostFedBack = 256;
// Floats of a row of AttentionKernels::store_fed_back's feedback: whole vectors.
[[gnu::always_inline]] constexpr size_t fed_back_stride(size_t n) {
  return (n + 15) / 16 * 16;
}

// Positions of a page of the cache: the keys that prefill's attention takes together are in one page.
constexpr uint32_t kPagePositions = 64;

// What the packed keys of a kv head lack: their projection's bias, which can be many times what tells keys
// apart, as RoPE turns it: first by the angles of a page's first position, then by those within the page.
struct KvBias {
  const float* values = nullptr;  // [head_size]; null: nothing is missing
  size_t dims = 0;                // that RoPE turns
  bool neox = false;
  const float* pages = nullptr;   // [page][cosines [dims / 2], sines [dims / 2]]
  const float* within = nullptr;  // the same for kPagePositions positions
};

// Keys or values of one kv head in the cache: rows of head_size elements, one a position. Position p is row
// p % kPagePositions of page p / kPagePositions.
struct KvRows {
  KvFormat format;
  const std::byte* const* pages;  // those that hold no position asked for may be null
  size_t rows;                    // where in each page the head's rows begin, in bytes
  size_t scales;                  // … and its rows' scales, for formats that have them
  KvBias bias{};                  // packed keys
};

struct AttentionShape {
  size_t head_size;
  size_t group;     // query heads that share the kv head
  float scale;      // of the scores, before the cap
  float softcap;    // 0: none
  uint32_t window;  // 0: all earlier positions
};

// Tiles of queries that one call of AttentionKernels::tiles takes at most: they share the work on the keys.
constexpr size_t kMostQueryTiles = 4;

// Prefill: the queries of `tokens` tokens (up to kMostQueryTiles tiles of them) from position `first` on.
struct AttentionTiles {
  AttentionShape shape;
  KvRows keys, values;  // read up to first + tokens − 1, or end − 1
  uint32_t first;
  size_t tokens;
  const float* queries;  // tiles of [group][head_size][tile_tokens]; lanes beyond the end: anything finite
  float* out;            // in the same layout
  size_t stride;         // floats from tile to tile
  // [group]: a score of each head that takes part in the softmax and has no value (a sink, arXiv 2309.17453);
  // or null.
  const float* sinks = nullptr;
  // More than 0: every query sees the keys of positions [0, end), those behind it too; there is no window
  // then, and `first` says nothing.
  uint32_t end = 0;
};

// Decode: one token's queries against positions [begin, end).
struct AttentionToken {
  AttentionShape shape;
  KvRows keys, values;
  uint32_t begin, end;
  const float* queries;  // [group][head_size]
  float* out;            // [group][head_size]: the sums, not normalised
  float *maxima, *sums;  // [group]: of the scores, and of the weights
};

struct AttentionKernels {
  // Floats of scratch that `tiles` needs for so many tiles.
  size_t (*tiles_scratch)(const AttentionShape& shape, size_t tiles);
  // One pass over the keys with a running maximum (FlashAttention, arXiv 2205.14135). scratch: 64-byte
  // aligned, or slower.
  void (*tiles)(const AttentionTiles& tiles, float* scratch);
  size_t (*token_scratch)(const AttentionShape& shape, size_t positions);
  // What it writes is merged over the parts of a long context. scratch: token_scratch floats.
  void (*token)(const AttentionToken& token, float* scratch);
  // One row into the cache; scales: where those of the row go.
  void (*store_row)(KvFormat format, const float* row, size_t n, void* out, void* scales);
  // A q5 row of up to kMostFedBack elements, each of which answers the errors of those before it: element j
  // is stored as near as may be to row[j] + Σ_{i < j} (row[i] − stored[i]) · feedback[i][j].
  // feedback: [n][fed_back_stride(n)], zeros where j ≤ i and j ≥ n.
  void (*store_fed_back)(const float* row, size_t n, const float* feedback, void* out, void* scales);
  // Lanes [lane, lane + tokens) of a tile into consecutive rows of a page: x [n][tile_tokens].
  void (*store_tile)(KvFormat format, const float* x, size_t n, size_t lane, size_t tokens, void* out,
                     void* scales);
};

}  // namespace cairn::kernels
