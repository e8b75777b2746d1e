// What encoding a stack spends its time on; see kernels/encode.hpp.
#include "kernels/encode.hpp"

#include "kernels/dot.hpp"
#include "kernels/targets/unroll.hpp"

namespace cairn::kernels::CAIRN_TARGET {
namespace {

const DF32 df;
const DI32 di;
constexpr size_t kLanes = HWY_LANES(float) < 16 ? HWY_LANES(float) : 16;
constexpr bool kManyRegisters = kLanes == 16;
// A block of accumulators of kVectors · kRows registers.
constexpr size_t kVectors = kManyRegisters ? 4 : 2;
constexpr size_t kRows = kManyRegisters ? 6 : 4;
static_assert(kStripRows % (kVectors * kLanes) == 0);

template <size_t Rows>
HWY_INLINE void block(size_t k, float factor, const float* HWY_RESTRICT a, size_t a_stride,
                      const float* HWY_RESTRICT b, size_t b_stride, float* HWY_RESTRICT c, size_t c_stride) {
  VF32 sum[Rows][kVectors];
  CAIRN_UNROLL(Rows, i, CAIRN_UNROLL(kVectors, v, sum[i][v] = hn::Zero(df)));
  for (size_t j = 0; j < k; ++j, a += a_stride, b += b_stride) {
    VF32 x[kVectors];
    CAIRN_UNROLL(kVectors, v, x[v] = hn::LoadU(df, b + v * kLanes));
    CAIRN_UNROLL(Rows, i, const VF32 w = hn::Set(df, a[i]);
                 CAIRN_UNROLL(kVectors, v, sum[i][v] = hn::MulAdd(w, x[v], sum[i][v])));
  }
  const VF32 f = hn::Set(df, factor);
  CAIRN_UNROLL(Rows, i,
               CAIRN_UNROLL(kVectors, v, float* to = c + i * c_stride + v * kLanes;
                            hn::StoreU(hn::MulAdd(sum[i][v], f, hn::LoadU(df, to)), df, to)));
}

void multiply_add(size_t m, size_t k, float factor, const float* a, size_t a_stride, const float* b,
                  size_t b_stride, float* c, size_t c_stride) {
  for (size_t r = 0; r < kStripRows; r += kVectors * kLanes) {
    size_t i = 0;
    for (; i + kRows <= m; i += kRows)
      block<kRows>(k, factor, a + i, a_stride, b + r, b_stride, c + i * c_stride + r, c_stride);
    for (; i < m; ++i) block<1>(k, factor, a + i, a_stride, b + r, b_stride, c + i * c_stride + r, c_stride);
  }
}

void choose(const NestedTables& tables, const float* targets, int32_t* codes) {
  const unsigned first = tables.first, last = tables.last;
  for (size_t r = 0; r < kStripRows; r += kLanes) {
    VF32 t[7], w[7], partial[7];
    for (unsigned k = first; k <= last; ++k) {
      t[k] = hn::LoadU(df, targets + k * kStripRows + r);
      w[k] = hn::Set(df, tables.weights[k]);
      partial[k] = hn::Zero(df);
    }
    VF32 best = hn::Set(df, 3.0e38f);
    VI32 best_code = hn::Zero(di);
    for (unsigned code = 0; code < 1u << last; ++code) {
      // Of the levels whose code begins here, the part of the cost is new; the levels above it keep theirs.
      for (unsigned k = first; k <= last; ++k) {
        if ((code & ((1u << (last - k)) - 1)) != 0) continue;
        const VF32 e = hn::Sub(t[k], hn::Set(df, tables.values[k][code >> (last - k)]));
        const VF32 before = k == first ? hn::Zero(df) : partial[k - 1];
        partial[k] = hn::MulAdd(hn::Mul(e, w[k]), e, before);
      }
      const auto better = hn::Lt(partial[last], best);
      best = hn::IfThenElse(better, partial[last], best);
      best_code =
          hn::IfThenElse(hn::RebindMask(di, better), hn::Set(di, static_cast<int32_t>(code)), best_code);
    }
    hn::StoreU(best_code, di, codes + r);
  }
}

}  // namespace

const EncodeKernels& encode_table() {
  static constexpr EncodeKernels table{&multiply_add, &choose};
  return table;
}

}  // namespace cairn::kernels::CAIRN_TARGET
