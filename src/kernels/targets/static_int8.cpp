// The static int8 product of matrix engines; see kernels/static_int8.hpp.
#include "kernels/static_int8.hpp"

#include <hwy/highway.h>

#include "kernels/dot.hpp"
#include "kernels/targets/exact_product.hpp"
#include "kernels/targets/unroll.hpp"

namespace cairn::kernels::CAIRN_TARGET {
namespace {
const DF32 df;
const DI32 di;
const DU8 du8;
using VF = VF32;
using VI = VI32;

constexpr size_t kLanes = HWY_LANES(float);
constexpr size_t kVectors = 2;
constexpr size_t kTile = kVectors * kLanes;
constexpr size_t kRows = kManyRegisters ? 6 : 4;  // as in gemm.cpp
constexpr size_t kBlock = 1024;  // of k: the tile's values stay in the first-level cache

void corrections(const int8_t* weights, size_t rows, size_t k, int32_t* out) {
  for (size_t row = 0; row < rows; ++row) {
    int32_t total = 0;
    for (size_t i = 0; i < k; ++i) total += weights[row * k + i];
    out[row] = -128 * total;
  }
}

// Sums over [begin, end) of k; between blocks they wait in `out` as integers.
HWY_INLINE void micro(const int8_t* HWY_RESTRICT weights, const int32_t* start_sums,
                      const float* HWY_RESTRICT scales, size_t k, size_t begin, size_t end,
                      const uint8_t* HWY_RESTRICT values, float* HWY_RESTRICT out) {
  const int8_t* HWY_RESTRICT low = weights + begin;
  const int8_t* HWY_RESTRICT high = low + kRows / 2 * k;
  const uint8_t* HWY_RESTRICT a = values + begin * kTile;
  const uint8_t* stop = values + end * kTile;
  VI acc[kRows][kVectors];
  if (begin == 0) {
    CAIRN_UNROLL(kRows, r, const VI start = kSigned ? hn::Zero(di) : hn::Set(di, start_sums[r]);
                 CAIRN_UNROLL(kVectors, v, acc[r][v] = start));
  } else {
    CAIRN_UNROLL(
        kRows, r,
        CAIRN_UNROLL(kVectors, v, acc[r][v] = hn::BitCast(di, hn::LoadU(df, out + r * kTile + v * kLanes))));
  }
  hide(stop);
  do {
    Activations x[kVectors];
    CAIRN_UNROLL(kVectors, v, x[v] = load(a + v * kLanes * 4));
    CAIRN_UNROLL(kRows, r, const VI8 w = broadcast4(r < kRows / 2 ? low + r * k : high + (r - kRows / 2) * k);
                 CAIRN_UNROLL(kVectors, v, acc[r][v] = product(acc[r][v], x[v], w)));
    a += kTile * 4;
    low += 4;
    high += 4;
  } while (a != stop);
  if (end < k) {
    CAIRN_UNROLL(
        kRows, r,
        CAIRN_UNROLL(kVectors, v, hn::StoreU(hn::BitCast(df, acc[r][v]), df, out + r * kTile + v * kLanes)));
  } else {
    CAIRN_UNROLL(
        kRows, r, const VF scale = hn::Set(df, scales[r]); CAIRN_UNROLL(
            kVectors, v,
            hn::StoreU(hn::Mul(hn::ConvertTo(df, acc[r][v]), scale), df, out + r * kTile + v * kLanes)));
  }
}

void multiply(const int8_t* weights, const int32_t* start_sums, const float* scales, size_t rows, size_t k,
              const uint8_t* values, float* out) {
  const size_t blocks = (k + kBlock - 1) / kBlock, step = ((k + blocks - 1) / blocks + 3) / 4 * 4;
  for (size_t begin = 0; begin < k; begin += step) {
    const size_t end = begin + step < k ? begin + step : k;
    for (size_t row = 0; row < rows; row += kRows)
      micro(weights + row * k, start_sums + row, scales + row, k, begin, end, values, out + row * kTile);
  }
}

void token_largest(const float* x, size_t k, float* largest) {
  VF top[kVectors];
  CAIRN_UNROLL(kVectors, v, top[v] = hn::Zero(df));
  for (size_t i = 0; i < k; ++i) {
    CAIRN_UNROLL(kVectors, v, top[v] = hn::Max(top[v], hn::Abs(hn::LoadU(df, x + i * kTile + v * kLanes))));
  }
  CAIRN_UNROLL(kVectors, v, hn::StoreU(top[v], df, largest + v * kLanes));
}

bool quantize(const float* x, size_t k, const float* inverse, uint8_t* values) {
  const VF most = hn::Set(df, 127.0f), least = hn::Set(df, -127.0f), beyond = hn::Set(df, 127.5f);
  VF clamped = hn::Zero(df);
  for (size_t v = 0; v < kVectors; ++v) {
    const VF factor = hn::LoadU(df, inverse + v * kLanes);
    for (size_t i = 0; i < k; i += 4) {
      VI word = hn::Zero(di);
      CAIRN_UNROLL(4, j, const VF q = hn::Mul(hn::LoadU(df, x + (i + j) * kTile + v * kLanes), factor);
                   clamped = hn::Max(clamped, hn::Abs(q));
                   const VI whole = hn::NearestInt(hn::Min(hn::Max(q, least), most));
                   word = hn::Or(word, hn::ShiftLeft<8 * j>(hn::And(whole, hn::Set(di, 255)))));
      hn::StoreU(hn::BitCast(du8, hn::Xor(word, hn::Set(di, static_cast<int32_t>(0x80808080)))), du8,
                 values + (i * kTile + v * kLanes * 4));
    }
  }
  return !hn::AllTrue(df, hn::Lt(clamped, beyond));
}

void finish(float* out, size_t rows, const float* lanes, const float* bias) {
  VF scale[kVectors];
  CAIRN_UNROLL(kVectors, v, scale[v] = hn::LoadU(df, lanes + v * kLanes));
  for (size_t row = 0; row < rows; ++row) {
    const VF start = hn::Set(df, bias == nullptr ? 0.0f : bias[row]);
    CAIRN_UNROLL(kVectors, v, float* p = out + row * kTile + v * kLanes;
                 hn::StoreU(hn::MulAdd(hn::LoadU(df, p), scale[v], start), df, p));
  }
}

float largest(const float* row, size_t k) {
  VF top = hn::Zero(df);
  size_t i = 0;
  for (; i + kLanes <= k; i += kLanes) top = hn::Max(top, hn::Abs(hn::LoadU(df, row + i)));
  float best = hn::GetLane(hn::MaxOfLanes(df, top));
  for (; i < k; ++i) {
    const float a = row[i] < 0 ? -row[i] : row[i];
    best = a > best ? a : best;
  }
  return best;
}

void quantize_row(const float* row, size_t k, float top, int8_t* values) {
  const hn::Rebind<int8_t, DI32> d8;
  const float factor = top > 1e-30f ? 127 / top : 0;
  const VF inverse = hn::Set(df, factor);
  size_t i = 0;
  for (; i + kLanes <= k; i += kLanes) {
    const VI q = hn::NearestInt(hn::Mul(hn::LoadU(df, row + i), inverse));
    hn::StoreU(hn::DemoteTo(d8, hn::Max(q, hn::Set(di, -127))), d8, values + i);
  }
  for (; i < k; ++i) {
    const VI q = hn::NearestInt(hn::Mul(hn::Set(df, row[i]), inverse));
    const int32_t whole = hn::GetLane(q);
    values[i] = static_cast<int8_t>(whole > 127 ? 127 : whole < -127 ? -127 : whole);
  }
}

void mix(float* x, const float* mixing, size_t blocks, size_t n, float* scratch) {
  constexpr size_t kWide = 2 * kLanes;
  size_t c = 0;
  for (; c + kWide <= n; c += kWide) {
    for (size_t j = 0; j < blocks; ++j) {
      hn::StoreU(hn::LoadU(df, x + j * n + c), df, scratch + j * kWide);
      hn::StoreU(hn::LoadU(df, x + j * n + c + kLanes), df, scratch + j * kWide + kLanes);
    }
    for (size_t i = 0; i < blocks; ++i) {
      VF a = hn::Zero(df), b = a;
      for (size_t j = 0; j < blocks; ++j) {
        const VF factor = hn::Set(df, mixing[i * blocks + j]);
        a = hn::MulAdd(factor, hn::LoadU(df, scratch + j * kWide), a);
        b = hn::MulAdd(factor, hn::LoadU(df, scratch + j * kWide + kLanes), b);
      }
      hn::StoreU(a, df, x + i * n + c);
      hn::StoreU(b, df, x + i * n + c + kLanes);
    }
  }
  for (; c < n; ++c) {
    for (size_t j = 0; j < blocks; ++j) scratch[j] = x[j * n + c];
    for (size_t i = 0; i < blocks; ++i) {
      float sum = 0;
      for (size_t j = 0; j < blocks; ++j) sum += mixing[i * blocks + j] * scratch[j];
      x[i * n + c] = sum;
    }
  }
}

template <size_t Rows>
HWY_INLINE void add_rows(const float* const* columns, size_t count, size_t row, const float* HWY_RESTRICT x,
                         float* HWY_RESTRICT out) {
  VF acc[Rows][kVectors];
  CAIRN_UNROLL(Rows, r,
               CAIRN_UNROLL(kVectors, v, acc[r][v] = hn::LoadU(df, out + (row + r) * kTile + v * kLanes)));
  for (size_t c = 0; c < count; ++c) {
    const float* HWY_RESTRICT column = columns[c] + row;
    VF a[kVectors];
    CAIRN_UNROLL(kVectors, v, a[v] = hn::LoadU(df, x + c * kTile + v * kLanes));
    CAIRN_UNROLL(Rows, r, const VF w = hn::Set(df, column[r]);
                 CAIRN_UNROLL(kVectors, v, acc[r][v] = hn::MulAdd(a[v], w, acc[r][v])));
  }
  CAIRN_UNROLL(Rows, r,
               CAIRN_UNROLL(kVectors, v, hn::StoreU(acc[r][v], df, out + (row + r) * kTile + v * kLanes)));
}

void add_columns(const float* const* columns, size_t count, size_t rows, const float* x, float* out) {
  size_t row = 0;
  for (; row + kRows <= rows; row += kRows) add_rows<kRows>(columns, count, row, x, out);
  for (; row < rows; ++row) add_rows<1>(columns, count, row, x, out);
}

void transpose(const uint32_t* from, size_t from_stride, size_t rows, size_t columns, uint32_t* to,
               size_t to_stride, uint32_t flip) {
  const hn::FixedTag<uint32_t, 4> d;
  const hn::Repartition<uint64_t, decltype(d)> pairs;
  const auto mask = hn::Set(d, flip);
  const size_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
  for (size_t r = 0; r < whole_rows; r += 4) {
    for (size_t c = 0; c < whole_columns; c += 4) {
      const uint32_t* at = from + r * from_stride + c;
      const auto row0 = hn::LoadU(d, at), row1 = hn::LoadU(d, at + from_stride);
      const auto row2 = hn::LoadU(d, at + 2 * from_stride), row3 = hn::LoadU(d, at + 3 * from_stride);
      const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, row0, row1));
      const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, row2, row3));
      const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, row0, row1));
      const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, row2, row3));
      uint32_t* out = to + c * to_stride + r;
      const auto store = [&](size_t i, auto v) {
        hn::StoreU(hn::Xor(hn::BitCast(d, v), mask), d, out + i * to_stride);
      };
      store(0, hn::InterleaveLower(pairs, low01, low23));
      store(1, hn::InterleaveUpper(pairs, low01, low23));
      store(2, hn::InterleaveLower(pairs, high01, high23));
      store(3, hn::InterleaveUpper(pairs, high01, high23));
    }
  }
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = r < whole_rows ? whole_columns : 0; c < columns; ++c)
      to[c * to_stride + r] = from[r * from_stride + c] ^ flip;
  }
}

}  // namespace

const StaticKernels& static_table() {
  static constexpr StaticKernels table{kTile,        kRows,     &token_largest, &quantize,
                                       &corrections, &multiply, &finish,        &quantize_row,
                                       &largest,     &mix,      &add_columns,   &transpose};
  return table;
}

}  // namespace cairn::kernels::CAIRN_TARGET
